// Further inputs of the denoiser, as a request gives them.
#ifndef DENOISE_SERVER_ENGINE_CONDITIONS_H_
#define DENOISE_SERVER_ENGINE_CONDITIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/engine/model_info.h"

namespace denoise {

// One input, for all samples of a request.
struct Condition {
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;  // of one sample, without N; every extent is known here
  size_t row_bytes = 0;        // product(shape) * BytesOf(type)
  bool one_for_all = false;
  std::vector<char> data;  // [1 or n] rows, little-endian as they came

  const char* row(uint32_t sample) const {
    return data.data() + (one_for_all ? 0 : sample * row_bytes);
  }
};

// In the order of the kCondition inputs of ModelInfo::inputs. Immutable, shared by the chains of a
// request.
using Conditions = std::vector<Condition>;

// Whether rows with these can be rows of one batch: the shapes agree.
bool SameShapes(const Conditions& a, const Conditions& b);

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_CONDITIONS_H_
