#include <algorithm>
#include <utility>

#include "denoise/testing.h"

namespace denoise {
inline namespace client_v1 {
namespace testing {
namespace {

constexpr char kPngSignature[] = "\x89PNG\r\n\x1a\n";

Tensor Zeros(int64_t n, const std::array<int64_t, 3>& shape) {
  Tensor tensor;
  tensor.shape = {n, shape[0], shape[1], shape[2]};
  tensor.values.resize(static_cast<size_t>(n * shape[0] * shape[1] * shape[2]));
  return tensor;
}

// As a line that falls from T-1 to 0 over the steps.
Accepted AcceptedOf(const SampleRequest& request, uint32_t steps) {
  Accepted accepted;
  accepted.request_id = "fake";
  accepted.model = request.model.empty() ? "fake" : request.model;
  accepted.model_version = std::max<int64_t>(1, request.model_version);
  accepted.seed = request.seed.value_or(0);
  accepted.total_steps = steps;
  for (uint32_t k = 0; k <= steps; ++k) {
    const float done = static_cast<float>(k) / static_cast<float>(steps);
    if (k < steps) accepted.timesteps.push_back(999 * (1 - done));
    accepted.alpha_bars.push_back(done);
  }
  return accepted;
}

bool IsShown(const StateStreaming& states, uint32_t step, uint32_t steps) {
  if (std::count(states.steps.begin(), states.steps.end(), step) > 0) return true;
  const uint32_t every = states.every_n_steps;
  return every > 0 && step > 0 && (step % every == 0 || step == steps);
}

}  // namespace

std::vector<Event> ChainOf(const SampleRequest& request, const std::array<int64_t, 3>& sample_shape,
                           uint32_t steps) {
  if (request.sampler.steps > 0) steps = request.sampler.steps;
  const Accepted accepted = AcceptedOf(request, steps);
  const uint32_t samples = std::max<uint32_t>(1, request.num_samples);
  std::vector<Content> contents = request.states.content;
  if (contents.empty()) contents = {Content::kNone};

  std::vector<Event> events = {accepted};
  for (uint32_t step = 0; step <= steps; ++step) {
    if (!IsShown(request.states, step, steps)) continue;
    for (uint32_t sample = 0; sample < samples; ++sample) {
      for (const Content content : contents) {
        State state;
        state.sample_index = sample;
        state.step = step;
        state.total_steps = steps;
        state.timestep = step < steps ? accepted.timesteps[step] : -1;
        state.alpha_bar = accepted.alpha_bars[step];
        state.content = content;
        const bool png = request.states.encoding == Encoding::kPng;
        if (content != Content::kNone && png) state.png = kPngSignature;
        if (content != Content::kNone && !png) state.tensor = Zeros(1, sample_shape);
        events.push_back(std::move(state));
      }
    }
  }
  Result result;
  if (request.encoding == Encoding::kPng) {
    result.pngs.assign(samples, kPngSignature);
  } else {
    result.samples = Zeros(samples, sample_shape);
  }
  result.denoiser_rows = uint64_t{samples} * steps;
  events.push_back(std::move(result));
  return events;
}

}  // namespace testing
}  // namespace client_v1
}  // namespace denoise
