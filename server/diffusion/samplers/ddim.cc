// Song et al. 2021, "Denoising Diffusion Implicit Models", equations 12 and 16.
#include <algorithm>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// Variances of the two parts that a row's x' is made of around α' x̂0, which add up to σ'².
struct Split {
  double noise;      // sd², of z
  double direction;  // of ε
};

// For η > 0 in float32 and operation by operation as diffusers: with η = 1 and ᾱ ≪ ᾱ' the
// direction's share is below float32's resolution of σ'², so that what diffusers has left of it is
// rounding, whose root of up to 3e-4 its samples show. In double a seed would not give what it
// gives there.
Split SplitVariance(const Level& from, const Level& to, double eta) {
  if (eta == 0) return {.noise = 0, .direction = to.variance};
  const auto alpha_bar = static_cast<float>(from.alpha_bar);
  const auto alpha_bar_to = static_cast<float>(to.alpha_bar);
  const float variance_to = 1.0F - alpha_bar_to;
  const float posterior_variance =
      variance_to / (1.0F - alpha_bar) * (1.0F - alpha_bar / alpha_bar_to);
  const float deviation = static_cast<float>(eta) * std::sqrt(posterior_variance);
  const float noise = deviation * deviation;
  // Never negative but by rounding: η ≤ 1 and β ≤ σ².
  return {.noise = noise, .direction = std::max(variance_to - noise, 0.0F)};
}

absl::Status Fill(const SamplerSettings& settings, Table* table) {
  const NoiseSchedule& schedule = settings.schedule;
  const double final_alpha_bar = settings.set_alpha_to_one ? 1 : schedule.alpha_bar(0);

  for (size_t i = 0; i < settings.times.size(); ++i) {
    const int64_t t = settings.times[i];
    const int64_t next = std::max<int64_t>(TimeAfter(settings, i), -1);
    const Level from(schedule.alpha_bar(t));
    const Level to(next >= 0 ? schedule.alpha_bar(next) : final_alpha_bar);
    const Split split = SplitVariance(from, to, settings.eta);

    Row row = DenoiseRow(settings, static_cast<double>(t), from);
    // ε is that of the denoiser, also where x̂0 is clipped, unless the request says otherwise.
    const Form epsilon = settings.use_clipped_model_output
                             ? EpsilonFromX0(from)
                             : PredictedEpsilon(settings.prediction, from);
    const double direction = std::sqrt(split.direction);
    auto& x = row.w[kColX];
    x[kColX] = direction * epsilon.x;
    x[kColOut] = direction * epsilon.out;
    x[kColX0] = to.alpha + direction * epsilon.x0;
    // Drawn for any η > 0, also where the level arrived at leaves no room for it.
    if (settings.eta > 0) {
      row.noise = true;
      x[kColZ] = std::sqrt(split.noise);
    }
    row.step = static_cast<uint32_t>(i + 1);
    SetState(static_cast<double>(next), to, &row);
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kDdim = {
    .kind = SamplerKind::kDdim,
    .name = "ddim",
    .class_name = "DDIMScheduler",
    .spacing = Spacing::kLeading,
    .steps_offset = 0,
    .clip_sample = true,
    .clip_sample_range = 1,
    .variance = Variance::kFixedSmall,
    .set_alpha_to_one = true,
    .takes_eta = true,
    .takes_use_clipped_model_output = true,
    .uses_clip_sample = true,
    .uses_thresholding = true,
    .repeatable = true,
    .begins_in_noise_alone = true,
    .fill = &Fill,
};

}  // namespace denoise
