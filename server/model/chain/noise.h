// The noise of one chain.
#ifndef DENOISE_SERVER_MODEL_CHAIN_NOISE_H_
#define DENOISE_SERVER_MODEL_CHAIN_NOISE_H_

#include <cstdint>

#include "ATen/core/Generator.h"
#include "ATen/core/Tensor.h"

namespace denoise {

// A stream of standard normal numbers: those that torch.randn(shape, generator=g) gives, call after
// call, with g = torch.Generator("cpu").manual_seed(seed). Only the low 32 bits of a seed count.
// 5 KB. Not thread-safe.
class NoiseStream {
 public:
  explicit NoiseStream(uint64_t seed);

  // As a new stream of that seed.
  void Reseed(uint64_t seed);

  // Fills `z`, a contiguous float32 tensor. The numbers depend on its count of values alone.
  void Draw(at::Tensor& z);

 private:
  at::Generator generator_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_NOISE_H_
