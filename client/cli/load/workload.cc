#include "client/cli/load/workload.h"

#include <cmath>
#include <utility>

namespace denoise::cli {
namespace {

// In [0, 1). The library's distributions differ from platform to platform.
double Uniform(std::mt19937_64* generator) {
  return std::ldexp(static_cast<double>((*generator)() >> 11), -53);
}

template <typename T>
const T& Draw(const std::vector<Weighted<T>>& choices, std::mt19937_64* generator) {
  double sum = 0;
  for (const auto& choice : choices) sum += choice.weight;
  double left = Uniform(generator) * sum;
  for (const auto& choice : choices) {
    left -= choice.weight;
    if (left < 0) return choice.value;
  }
  return choices.back().value;  // rounding
}

}  // namespace

Workload::Workload(WorkloadOptions options)
    : options_(std::move(options)), choices_(options_.seed), arrivals_(~options_.seed) {}

LoadRequest Workload::Next() {
  LoadRequest next{.request = options_.request};
  next.request.sampler.steps = Draw(options_.steps, &choices_);
  next.request.sampler.kind = Draw(options_.samplers, &choices_);
  next.slow = Uniform(&choices_) < options_.slow_share;
  next.request.seed = choices_() & 0xffffffff;
  if (!options_.classes.empty()) {
    next.request.class_labels = {options_.classes[made_ % options_.classes.size()]};
  }
  ++made_;
  return next;
}

absl::Duration Workload::NextGap(double rate) {
  return absl::Seconds(-std::log1p(-Uniform(&arrivals_)) / rate);
}

}  // namespace denoise::cli
