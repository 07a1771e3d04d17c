#include "denoise/tensor.h"

namespace denoise {
inline namespace client_v1 {

const char* Name(DataType type) {
  switch (type) {
    case DataType::kUnknown:
      return "unknown";
    case DataType::kFloat32:
      return "float32";
    case DataType::kInt64:
      return "int64";
    case DataType::kBool:
      return "bool";
  }
  return "unknown";
}

DataType Array::dtype() const {
  if (std::holds_alternative<std::vector<float>>(values)) return DataType::kFloat32;
  if (std::holds_alternative<std::vector<int64_t>>(values)) return DataType::kInt64;
  return DataType::kBool;
}

}  // namespace client_v1
}  // namespace denoise
