// Song et al. 2021, "Denoising Diffusion Implicit Models", equations 12 and 16.
#include <algorithm>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

void Fill(const SamplerSettings& settings, Table* table) {
  const NoiseSchedule& schedule = settings.schedule;
  const auto steps = static_cast<int64_t>(settings.times.size());
  // A row goes down by this stride and not to the next time of the grid; the two differ where the
  // grid is not leading. Models are used with diffusers, which does so.
  const int64_t stride = schedule.size() / steps;
  const double final_alpha_bar = settings.set_alpha_to_one ? 1 : schedule.alpha_bar(0);

  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = settings.times[i];
    const int64_t next = std::max<int64_t>(t - stride, -1);
    const Level from(schedule.alpha_bar(t));
    const Level to(next >= 0 ? schedule.alpha_bar(next) : final_alpha_bar);
    const double beta = 1 - from.alpha_bar / to.alpha_bar;
    const double noise_variance = settings.eta * settings.eta * to.variance / from.variance * beta;

    Row row = DenoiseRow(settings, t, from);
    // ε is that of the denoiser, also where x̂0 is clipped, unless the request says otherwise.
    const Form epsilon = settings.use_clipped_model_output
                             ? EpsilonFromX0(from)
                             : PredictedEpsilon(settings.prediction, from);
    // Never negative but by rounding: η ≤ 1 and β ≤ σ².
    const double direction = std::sqrt(std::max(to.variance - noise_variance, 0.0));
    auto& x = row.w[kColX];
    x[kColX] = direction * epsilon.x;
    x[kColOut] = direction * epsilon.out;
    x[kColX0] = to.alpha + direction * epsilon.x0;
    // Drawn for any η > 0, also where the level arrived at leaves no room for it.
    if (settings.eta > 0) {
      row.noise = true;
      x[kColZ] = std::sqrt(noise_variance);
    }
    row.step = static_cast<uint32_t>(i + 1);
    SetState(static_cast<double>(next), to, &row);
    table->rows.push_back(row);
  }
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
    .takes_variance = false,
    .takes_use_clipped_model_output = true,
    .fill = &Fill,
};

}  // namespace denoise
