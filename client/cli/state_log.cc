#include "client/cli/state_log.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace denoise::cli {
namespace {

constexpr int kGap = 2;
constexpr int kContentGap = 8;
constexpr absl::Duration kFilm = absl::Seconds(4);
constexpr absl::Duration kLastFrame = absl::Seconds(2);

size_t Product(const std::vector<int64_t>& shape) {
  size_t product = 1;
  for (const int64_t extent : shape) product *= static_cast<size_t>(extent);
  return product;
}

}  // namespace

StateLog::StateLog(uint32_t num_samples, std::vector<Content> content,
                   std::vector<int64_t> sample_shape)
    : num_samples_(num_samples),
      content_(std::move(content)),
      sample_shape_(std::move(sample_shape)),
      values_per_sample_(Product(sample_shape_)) {}

absl::Status StateLog::Add(const State& state) {
  const auto content = std::find(content_.begin(), content_.end(), state.content);
  if (content == content_.end() || state.tensor.values.empty()) return absl::OkStatus();
  const auto& shape = state.tensor.shape;
  if (state.sample_index >= num_samples_ ||
      !std::equal(shape.begin() + 1, shape.end(), sample_shape_.begin(), sample_shape_.end())) {
    return absl::DataLossError("a state's shape is not that of the model's samples");
  }
  Step& step = steps_[state.step];
  if (step.values.empty()) {
    step.timestep = state.timestep;
    step.alpha_bar = state.alpha_bar;
    step.values.assign(content_.size() * num_samples_ * values_per_sample_,
                       std::numeric_limits<float>::quiet_NaN());
  }
  std::copy(state.tensor.values.begin(), state.tensor.values.end(),
            step.values.begin() + Offset(content - content_.begin(), state.sample_index));
  return absl::OkStatus();
}

Tensor StateLog::ToTensor() const {
  Tensor tensor;
  tensor.shape = {static_cast<int64_t>(steps_.size()), static_cast<int64_t>(content_.size()),
                  num_samples_};
  tensor.shape.insert(tensor.shape.end(), sample_shape_.begin(), sample_shape_.end());
  for (const auto& [number, step] : steps_) {
    tensor.values.insert(tensor.values.end(), step.values.begin(), step.values.end());
  }
  return tensor;
}

std::vector<Frame> StateLog::ToFrames(const SampleFormat& format, int scale) const {
  std::vector<Frame> frames;
  // The latest picture of each (content, sample).
  std::vector<std::vector<Picture>> latest(content_.size(),
                                           std::vector<Picture>(num_samples_, Blank(format)));
  const absl::Duration duration =
      std::clamp(kFilm / std::max<int64_t>(1, static_cast<int64_t>(steps_.size())),
                 absl::Milliseconds(40), absl::Milliseconds(250));
  for (const auto& [number, step] : steps_) {
    std::vector<Picture> grids;
    for (size_t c = 0; c < content_.size(); ++c) {
      for (uint32_t i = 0; i < num_samples_; ++i) {
        const absl::Span<const float> values(&step.values[Offset(c, i)], values_per_sample_);
        if (!std::isnan(values[0])) latest[c][i] = ToPicture(values, format);
      }
      grids.push_back(Grid(latest[c], SquareColumns(num_samples_), scale, kGap));
    }
    frames.push_back({Grid(grids, static_cast<int>(grids.size()), 1, kContentGap), duration});
  }
  if (!frames.empty()) frames.back().duration = kLastFrame;
  return frames;
}

}  // namespace denoise::cli
