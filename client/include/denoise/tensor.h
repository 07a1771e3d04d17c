// Dense arrays.
#ifndef DENOISE_TENSOR_H_
#define DENOISE_TENSOR_H_

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

namespace denoise {
inline namespace client_v1 {

// A dense float32 array, row-major: samples, noise, masks.
struct Tensor {
  std::vector<int64_t> shape;  // extents, outermost first, all positive
  std::vector<float> values;   // product(shape) of them
};

enum class DataType { kUnknown, kFloat32, kInt64, kBool };

// "float32" and the like.
const char* Name(DataType type);

// The same of any element type that a denoiser's further inputs may have. The type is that of
// `values`:
//
//     request.conditions["embedding"] = Tensor{{1, 2}, {0.5f, -1}};
//     request.conditions["tokens"] = {{1, 3}, std::vector<int64_t>{5, 9, 2}};
struct Array {
  using Values = std::variant<std::vector<float>, std::vector<int64_t>, std::vector<bool>>;

  Array() = default;
  Array(std::vector<int64_t> s, Values v) : shape(std::move(s)), values(std::move(v)) {}
  // Implicit, as every Tensor is one.
  Array(Tensor tensor)  // NOLINT(google-explicit-constructor)
      : shape(std::move(tensor.shape)), values(std::move(tensor.values)) {}

  DataType dtype() const;

  std::vector<int64_t> shape;  // as in Tensor
  Values values;               // product(shape) of them
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_TENSOR_H_
