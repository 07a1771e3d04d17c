// The noise of a chain of likelihood terms.
#ifndef DENOISE_SERVER_MODEL_CHAIN_TERM_NOISE_H_
#define DENOISE_SERVER_MODEL_CHAIN_TERM_NOISE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "server/model/chain/noise.h"

namespace denoise {

// Term k of a chain has draw k of the chain's stream, whichever batch it is in and however often it
// is tried. Not thread-safe.
class TermNoise {
 public:
  // Whether term `index` can still be computed.
  bool Has(size_t index) const { return index >= num_drawn_ || Find(index) != nullptr; }
  // Draws up to term `index`, `n` values each, as far as that has not happened. May throw, as
  // LibTorch does, where memory runs out; what was drawn stays.
  void Prepare(size_t index, int64_t n, NoiseStream& stream);
  // [n] values of a term that is prepared and not done.
  const float* Get(size_t index) const { return Find(index)->const_data_ptr<float>(); }
  // The term is computed: forgets its noise.
  void Done(size_t index);

 private:
  struct Pending {
    size_t index;
    at::Tensor z;
  };
  const at::Tensor* Find(size_t index) const;

  size_t num_drawn_ = 0;
  std::vector<Pending> pending_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_TERM_NOISE_H_
