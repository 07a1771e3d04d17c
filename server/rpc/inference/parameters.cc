#include "server/rpc/inference/parameters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

constexpr char kRegion[] = "shared_memory_region";
constexpr char kByteSize[] = "shared_memory_byte_size";
constexpr char kOffset[] = "shared_memory_offset";

std::string FieldName(absl::string_view field, absl::string_view name) {
  return absl::StrCat(field, "[", Quote(name), "]");
}

}  // namespace

absl::Status CheckKnown(const ParameterMap& parameters,
                        std::initializer_list<absl::string_view> known, absl::string_view field) {
  const std::string* unknown = nullptr;
  for (const auto& [name, value] : parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (unknown == nullptr || name < *unknown) unknown = &name;
  }
  if (unknown == nullptr) return absl::OkStatus();
  return FieldError(FieldName(field, *unknown),
                    absl::StrCat("is not known here; known are ", absl::StrJoin(known, ", ")));
}

absl::StatusOr<std::optional<uint64_t>> WholeNumber(const ParameterMap& parameters,
                                                    const std::string& name,
                                                    absl::string_view field) {
  const auto it = parameters.find(name);
  if (it == parameters.end()) return std::nullopt;
  const inference::InferParameter& value = it->second;
  if (value.parameter_choice_case() == inference::InferParameter::kUint64Param) {
    return value.uint64_param();
  }
  if (value.parameter_choice_case() == inference::InferParameter::kInt64Param &&
      value.int64_param() >= 0) {
    return static_cast<uint64_t>(value.int64_param());
  }
  const std::string given = value.parameter_choice_case() == inference::InferParameter::kInt64Param
                                ? absl::StrCat(value.int64_param(), " is negative")
                                : "is no whole number";
  return FieldError(FieldName(field, name), absl::StrCat(given, "; give int64_param from 0 on"));
}

absl::StatusOr<std::optional<SharedMemory::Place>> PlaceOf(const ParameterMap& parameters,
                                                           absl::string_view field) {
  const std::string of_parameters = absl::StrCat(field, ".parameters");
  absl::Status status = CheckKnown(parameters, {kRegion, kByteSize, kOffset}, of_parameters);
  if (!status.ok()) return status;
  const absl::StatusOr<std::optional<uint64_t>> size =
      WholeNumber(parameters, kByteSize, of_parameters);
  if (!size.ok()) return size.status();
  const absl::StatusOr<std::optional<uint64_t>> offset =
      WholeNumber(parameters, kOffset, of_parameters);
  if (!offset.ok()) return offset.status();
  if (parameters.empty()) return std::nullopt;

  const auto region = parameters.find(kRegion);
  if (region == parameters.end() || region->second.string_param().empty()) {
    return FieldError(FieldName(of_parameters, kRegion),
                      "missing; give the name of a registered region as string_param");
  }
  if (!size->has_value()) {
    return FieldError(FieldName(of_parameters, kByteSize),
                      "missing; give the size in bytes as int64_param");
  }
  return SharedMemory::Place{region->second.string_param(), offset->value_or(0), **size};
}

void SetPlace(const SharedMemory::Place& place, ParameterMap* parameters) {
  (*parameters)[kRegion].set_string_param(place.region);
  (*parameters)[kByteSize].set_int64_param(static_cast<int64_t>(place.byte_size));
  if (place.offset != 0) {
    (*parameters)[kOffset].set_int64_param(static_cast<int64_t>(place.offset));
  }
}

}  // namespace denoise
