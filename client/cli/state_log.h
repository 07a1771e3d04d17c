// The states of a call, kept to be drawn or written when it has ended.
#ifndef DENOISE_CLIENT_CLI_STATE_LOG_H_
#define DENOISE_CLIENT_CLI_STATE_LOG_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cli/pictures/animation.h"
#include "denoise/types.h"

namespace denoise::cli {

class StateLog {
 public:
  struct Step {
    float timestep = 0;
    float alpha_bar = 0;
    // [content, n, C·H·W]; NaN where a state has not come.
    std::vector<float> values;
  };

  // `content`: what is kept of each state; `sample_shape`: [C, H, W].
  StateLog(uint32_t num_samples, std::vector<Content> content, std::vector<int64_t> sample_shape);

  // DATA_LOSS if the state has another shape. One that carries no data is left out.
  absl::Status Add(const State& state);

  const std::map<uint32_t, Step>& steps() const { return steps_; }

  // Everything, [steps, content, n, C, H, W].
  Tensor ToTensor() const;

  // A frame a step: the grid of all samples, one beside the other for each content. A state that
  // did not come is drawn as the one before it, before the first as black. The last frame stays
  // longer.
  std::vector<Frame> ToFrames(const SampleFormat& format, int scale) const;

 private:
  size_t Offset(size_t content, uint32_t sample) const {
    return (content * num_samples_ + sample) * values_per_sample_;
  }

  const uint32_t num_samples_;
  const std::vector<Content> content_;
  const std::vector<int64_t> sample_shape_;
  const size_t values_per_sample_;
  std::map<uint32_t, Step> steps_;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_STATE_LOG_H_
