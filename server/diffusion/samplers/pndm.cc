// Pseudo linear multistep (PLMS): DDIM's step with an Adams-Bashforth mean of the denoiser's last
// four answers. Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds",
// algorithm 1 in the form that starts without Runge-Kutta steps (diffusers' skip_prk_steps).
#include <algorithm>
#include <array>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// Weights of the newest answer and those before it.
using Mean = std::array<double, 4>;
constexpr Mean kMeans[] = {
    {1},
    {3.0 / 2, -1.0 / 2},
    {23.0 / 12, -16.0 / 12, 5.0 / 12},
    {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24},
};

// What means are taken of: ε, or v where that is what the denoiser predicts (as in diffusers,
// though v, unlike ε, turns along a path; diffusers has no PNDM for x_0). It is the one that goes
// with x̂0 after clipping or thresholding, if that is on.
Form Answer(const SamplerSettings& settings, const Level& level) {
  if (settings.prediction != Prediction::kV) {
    return settings.bounds_x0() ? EpsilonFromX0(level)
                                : PredictedEpsilon(settings.prediction, level);
  }
  if (!settings.bounds_x0()) return {.out = 1};
  return {.x = level.alpha / level.sigma, .x0 = -1 / level.sigma};
}

// The DDIM step x' = (α'/α) x + (σ' - σ α'/α) ε, ε from the mean of answers and x, as weights of x
// and the mean.
Form StepForm(Prediction prediction, const Level& from, const Level& to) {
  const double scale = to.alpha / from.alpha;
  const double direction = to.sigma - from.sigma * scale;
  const Form epsilon =
      prediction == Prediction::kV ? PredictedEpsilon(prediction, from) : Form{.out = 1};
  return {.x = scale + direction * epsilon.x, .out = direction * epsilon.out};
}

// h1, h2, h3 keep the answers before, newest first. The first step is of second order, by a trial:
// its first row goes down by DDIM, and its second, called where that arrives, goes again from the
// start, kept in h2 meanwhile, with the mean of both answers.
absl::Status Fill(const SamplerSettings& settings, Table* table) {
  const std::vector<int64_t>& times = settings.times;
  const NoiseSchedule& schedule = settings.schedule;
  const int64_t stride = schedule.size() / static_cast<int64_t>(times.size());
  const auto level_at = [&](int64_t t) {
    if (t >= 0) return Level(schedule.alpha_bar(t));
    return Level(settings.set_alpha_to_one ? 1 : schedule.alpha_bar(0));
  };
  table->registers = kMaxRegisters;

  const auto make_row = [&](int64_t t, int64_t arrives, size_t step) {
    Row row = DenoiseRow(settings, static_cast<double>(t), level_at(t));
    row.step = static_cast<uint32_t>(step);
    SetState(static_cast<double>(std::max<int64_t>(arrives, -1)), level_at(arrives), &row);
    return row;
  };
  const auto add = [](double factor, const Form& form, std::array<double, kNumColumns>* weights) {
    (*weights)[kColX] += factor * form.x;
    (*weights)[kColOut] += factor * form.out;
    (*weights)[kColX0] += factor * form.x0;
  };

  if (times.size() > 1) {
    const int64_t trial_end = times[0] - stride;
    Row trial = make_row(times[0], trial_end, 1);
    trial.completes_step = false;
    const Form trial_step = StepForm(settings.prediction, level_at(times[0]), level_at(trial_end));
    const Form first = Answer(settings, level_at(times[0]));
    trial.w[kColX][kColX] = trial_step.x;
    add(trial_step.out, first, &trial.w[kColX]);
    add(1, first, &trial.w[kColH1]);
    trial.w[kColH2][kColX] = 1;
    table->rows.push_back(trial);

    Row again = make_row(times[1], times[1], 1);
    const Form step =
        StepForm(settings.prediction, level_at(times[1] + stride), level_at(times[1]));
    again.w[kColX][kColH2] = step.x;
    again.w[kColX][kColH1] = step.out / 2;
    add(step.out / 2, Answer(settings, level_at(times[1])), &again.w[kColX]);
    again.w[kColH1][kColH1] = 1;
    table->rows.push_back(again);
  }

  for (size_t i = times.size() > 1 ? 1 : 0; i < times.size(); ++i) {
    const int64_t arrives = times[i] - stride;
    const Level from = level_at(times[i]);
    const Form step = StepForm(settings.prediction, from, level_at(arrives));
    const Form answer = Answer(settings, from);
    const Mean& mean = kMeans[std::min<size_t>(i, 3)];

    Row row = make_row(times[i], arrives, i + 1);
    row.w[kColX][kColX] = step.x;
    add(step.out * mean[0], answer, &row.w[kColX]);
    for (size_t k = 1; k < mean.size(); ++k) row.w[kColX][kColH1 + k - 1] = step.out * mean[k];
    add(1, answer, &row.w[kColH1]);
    row.w[kColH2][kColH1] = 1;
    row.w[kColH3][kColH2] = 1;
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kPndm = {
    .kind = SamplerKind::kPndm,
    .name = "pndm",
    .class_name = "PNDMScheduler",
    .spacing = Spacing::kLeading,
    .set_alpha_to_one = false,
    .fill = &Fill,
};

}  // namespace denoise
