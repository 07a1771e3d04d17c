#include "server/rpc/messages/tensor_proto.h"

#include <bit>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

static_assert(std::endian::native == std::endian::little,
              "Tensor.data is little-endian, and copied as it lies in memory");

constexpr size_t kMaxExtentsShown = 8;

// "1 or 4" where one will do for all.
std::string OneOr(bool one, const std::string& other) {
  return one && other != "1" ? absl::StrCat("1 or ", other) : other;
}

std::string Wanted(const SamplesSpec& spec) {
  const std::string n =
      spec.num_samples.has_value() ? absl::StrCat(*spec.num_samples) : std::string("n");
  return absl::StrCat("[", OneOr(spec.or_one_sample, n), ", ",
                      OneOr(spec.or_one_channel, absl::StrCat(spec.shape.channels)), ", ",
                      spec.shape.height, ", ", spec.shape.width, "]");
}

bool HasShape(const v1::Tensor& tensor, const SamplesSpec& spec) {
  if (tensor.shape_size() != 4) return false;
  const int64_t n = tensor.shape(0);
  const int64_t channels = tensor.shape(1);
  const bool n_fits = spec.num_samples.has_value()
                          ? n == *spec.num_samples || (spec.or_one_sample && n == 1)
                          : n >= 1;
  return n_fits && (channels == spec.shape.channels || (spec.or_one_channel && channels == 1)) &&
         tensor.shape(2) == spec.shape.height && tensor.shape(3) == spec.shape.width;
}

}  // namespace

v1::DataType DataTypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return v1::DATA_TYPE_FLOAT32;
    case ElementType::kInt64:
      return v1::DATA_TYPE_INT64;
    case ElementType::kBool:
      return v1::DATA_TYPE_BOOL;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

std::string ShapeText(absl::Span<const int64_t> shape) {
  const bool cut = shape.size() > kMaxExtentsShown;
  return absl::StrCat("[", absl::StrJoin(shape.subspan(0, kMaxExtentsShown), ", "),
                      cut ? ", …" : "", "]");
}

absl::StatusOr<uint32_t> CheckSamples(const v1::Tensor& tensor, const SamplesSpec& spec,
                                      absl::string_view field) {
  if (tensor.dtype() != v1::DATA_TYPE_FLOAT32) {
    return FieldError(absl::StrCat(field, ".dtype"),
                      absl::StrCat(static_cast<int>(tensor.dtype()), " is not DATA_TYPE_FLOAT32 (",
                                   static_cast<int>(v1::DATA_TYPE_FLOAT32), ")"));
  }
  // Extents may be as large as int64 goes: they are compared, and multiplied only once they fit.
  const std::string shape_field = absl::StrCat(field, ".shape");
  if (!HasShape(tensor, spec)) {
    return FieldError(shape_field,
                      absl::StrCat(ShapeText(tensor.shape()), " is not ", Wanted(spec)));
  }
  if (!spec.num_samples.has_value() && tensor.shape(0) > spec.max_samples) {
    return FieldError(shape_field, absl::StrCat(ShapeText(tensor.shape()), " is more than the ",
                                                spec.max_samples, " samples of one request"));
  }
  const auto n = static_cast<uint32_t>(tensor.shape(0));
  const auto values =
      static_cast<uint64_t>(tensor.shape(0)) * tensor.shape(1) * tensor.shape(2) * tensor.shape(3);
  const std::string data_field = absl::StrCat(field, ".data");
  if (tensor.data().size() != values * sizeof(float)) {
    return FieldError(data_field, absl::StrCat(tensor.data().size(), " bytes are not the ",
                                               values * sizeof(float), " of ",
                                               ShapeText(tensor.shape()), " FLOAT32"));
  }
  for (uint64_t i = 0; i < values; ++i) {
    float value;
    std::memcpy(&value, tensor.data().data() + i * sizeof(float), sizeof(float));
    // Written so that NaN fails.
    if (!(value >= spec.min && value <= spec.max)) {
      return FieldError(
          data_field, absl::StrCat(value, " (value ", i, ") is not in ", spec.min, "..", spec.max));
    }
  }
  return n;
}

std::vector<float> FloatsOf(const v1::Tensor& tensor) {
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), values.size() * sizeof(float));
  return values;
}

void SetTensor(absl::Span<const int64_t> shape, absl::Span<const float> values,
               v1::Tensor* tensor) {
  tensor->set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
  tensor->set_data(values.data(), values.size() * sizeof(float));
}

}  // namespace denoise
