#include "server/rpc/inference/infer_outputs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/inference/parameters.h"
#include "server/rpc/messages/text.h"

namespace denoise {

std::string FieldOfOutput(absl::string_view name) {
  return absl::StrCat("outputs[", Quote(name), "]");
}

absl::StatusOr<InferOutputs> InferOutputs::Read(const inference::ModelInferRequest& message,
                                                absl::Span<const TensorSpec> specs,
                                                const SharedMemory& shared_memory) {
  InferOutputs outputs;
  for (const auto& wanted : message.outputs()) {
    const std::string field = FieldOfOutput(wanted.name());
    const bool known = std::any_of(specs.begin(), specs.end(), [&](const TensorSpec& spec) {
      return spec.name == wanted.name();
    });
    if (!known) {
      const std::string names = absl::StrJoin(
          specs, ", ",
          [](std::string* out, const TensorSpec& spec) { absl::StrAppend(out, Quote(spec.name)); });
      return FieldError(field, absl::StrCat("is no output of this model; it gives ", names));
    }
    if (outputs.Find(wanted.name()) != nullptr) {
      return FieldError(field, "is there twice; name it once");
    }
    const auto place = PlaceOf(wanted.parameters(), field);
    if (!place.ok()) return place.status();
    if (place->has_value()) {
      if (absl::Status status = shared_memory.Check(**place, field); !status.ok()) return status;
    }
    outputs.outputs_.push_back({wanted.name(), *place});
  }
  return outputs;
}

void InferOutputs::UseIfNoneNamed(std::vector<std::string> names) {
  if (named()) return;
  for (std::string& name : names) outputs_.push_back({std::move(name), std::nullopt});
}

const InferOutput* InferOutputs::Find(absl::string_view name) const {
  const auto it = std::find_if(outputs_.begin(), outputs_.end(),
                               [&](const InferOutput& output) { return name == output.name; });
  return it == outputs_.end() ? nullptr : &*it;
}

absl::Status CheckRoom(const InferOutput& output, uint64_t bytes) {
  if (!output.place.has_value() || output.place->byte_size >= bytes) return absl::OkStatus();
  return FieldError(FieldOfOutput(output.name),
                    absl::StrCat("it will have ", bytes, " bytes, more than the ",
                                 output.place->byte_size, " of its shared memory"));
}

absl::Status AddOutput(const InferOutput& output, InferType type, absl::Span<const int64_t> shape,
                       std::string data, const SharedMemory& shared_memory,
                       inference::ModelInferResponse* response) {
  auto* tensor = response->add_outputs();
  tensor->set_name(output.name);
  tensor->set_datatype(std::string(Name(type)));
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
  if (!output.place.has_value()) {
    response->add_raw_output_contents(std::move(data));
    return absl::OkStatus();
  }
  absl::Status status = shared_memory.Write(*output.place, data, FieldOfOutput(output.name));
  if (!status.ok()) return status;
  SharedMemory::Place written = *output.place;
  written.byte_size = data.size();
  SetPlace(written, tensor->mutable_parameters());
  response->add_raw_output_contents();  // clients count
  return absl::OkStatus();
}

std::string BytesOfFloats(absl::Span<const float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::string BytesOfUint32(uint32_t value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string BytesOfStrings(absl::Span<const std::string> elements) {
  std::string bytes;
  for (const std::string& element : elements) {
    absl::StrAppend(&bytes, BytesOfUint32(static_cast<uint32_t>(element.size())), element);
  }
  return bytes;
}

}  // namespace denoise
