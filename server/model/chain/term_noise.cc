#include "server/model/chain/term_noise.h"

#include <utility>

#include "ATen/ops/empty.h"

namespace denoise {

void TermNoise::Prepare(size_t index, int64_t n, NoiseStream& stream) {
  while (num_drawn_ <= index) {
    // Memory first: a draw that could not be kept would be lost.
    pending_.reserve(pending_.size() + 1);
    at::Tensor z = at::empty({n}, at::kFloat);
    stream.Draw(z);
    pending_.push_back({.index = num_drawn_++, .z = std::move(z)});
  }
}

void TermNoise::Done(size_t index) {
  std::erase_if(pending_, [&](const Pending& pending) { return pending.index == index; });
}

const at::Tensor* TermNoise::Find(size_t index) const {
  for (const Pending& pending : pending_) {
    if (pending.index == index) return &pending.z;
  }
  return nullptr;
}

}  // namespace denoise
