// Ancestral sampling. Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equations 6, 7
// and 11; the learned variances are Nichol & Dhariwal 2021, "Improved DDPM", equation 15.
#include <algorithm>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// The variance of q(x_{t-1}|x_t,x_0) is 0 where the chain arrives at x_0; its logarithm is taken.
constexpr double kMinVariance = 1e-20;

void SetNoise(Variance kind, double beta, double posterior_variance, Row* row) {
  row->noise = true;
  double& weight = row->w[kColX][kColZ];
  switch (kind) {
    case Variance::kFixedSmall:
      weight = std::sqrt(posterior_variance);
      break;
    case Variance::kFixedLarge:
      weight = std::sqrt(beta);
      break;
    case Variance::kLearned:
      row->variance = RowVariance::kLearned;
      weight = 1;
      break;
    case Variance::kLearnedRange:
      row->variance = RowVariance::kLearnedRange;
      row->log_var_min = std::log(posterior_variance);
      row->log_var_max = std::log(beta);
      weight = 1;
      break;
  }
}

absl::Status Fill(const SamplerSettings& settings, Table* table) {
  const std::vector<int64_t>& times = settings.times;
  for (size_t i = 0; i < times.size(); ++i) {
    const bool last = i + 1 == times.size();
    const int64_t t = times[i];
    // Whatever the last time is, from there the chain goes to x_0 itself.
    const int64_t next = last ? -1 : times[i + 1];
    const Level from(settings.schedule.alpha_bar(t));
    const Level to(last ? 1 : settings.schedule.alpha_bar(next));
    // β of the one transition that a strided chain makes of several.
    const double beta = 1 - from.alpha_bar / to.alpha_bar;

    Row row = DenoiseRow(settings, static_cast<double>(t), from);
    auto& x = row.w[kColX];
    x[kColX0] = to.alpha * beta / from.variance;
    x[kColX] = std::sqrt(1 - beta) * to.variance / from.variance;
    // So a grid that ends above t = 0 draws noise on its last row too, as diffusers does.
    if (t > 0) {
      SetNoise(settings.variance, beta, std::max(to.variance / from.variance * beta, kMinVariance),
               &row);
    }
    row.step = static_cast<uint32_t>(i + 1);
    SetState(static_cast<double>(next), to, &row);
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kDdpm = {
    .kind = SamplerKind::kDdpm,
    .name = "ddpm",
    .class_name = "DDPMScheduler",
    .spacing = Spacing::kLeading,
    .steps_offset = 0,
    .clip_sample = true,
    .clip_sample_range = 1,
    .variance = Variance::kFixedSmall,
    .set_alpha_to_one = true,
    .takes_variance = true,
    .uses_clip_sample = true,
    .uses_thresholding = true,
    .repeatable = true,
    .begins_in_noise_alone = true,
    .fill = &Fill,
};

}  // namespace denoise
