#include "server/engine/model_info.h"

namespace denoise {

size_t BytesOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return sizeof(float);
    case ElementType::kInt64:
      return sizeof(int64_t);
    case ElementType::kBool:
      return sizeof(bool);
  }
  return 0;
}

absl::string_view Name(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kInt64:
      return "int64";
    case ElementType::kBool:
      return "bool";
  }
  return "?";
}

SampleShape ModelInfo::answer_shape() const {
  SampleShape answer = shape;
  if (learned_variance) answer.channels *= 2;
  return answer;
}

SampleFormat ModelInfo::format(bool decoded) const {
  return decoded ? decoder->format : SampleFormat{shape, value_min, value_max};
}

}  // namespace denoise
