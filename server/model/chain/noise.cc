#include "server/model/chain/noise.h"

#include "ATen/CPUGeneratorImpl.h"

namespace denoise {

NoiseStream::NoiseStream(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

void NoiseStream::Reseed(uint64_t seed) { generator_.set_current_seed(seed); }

void NoiseStream::Draw(at::Tensor& z) { z.normal_(0, 1, generator_); }

}  // namespace denoise
