// Pseudo linear multistep (PLMS): DDIM's step with an Adams-Bashforth mean of the denoiser's last
// four answers. Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds":
// algorithm 2, whose first three steps are pseudo Runge-Kutta steps of four calls each, and the
// form that starts without them (diffusers' skip_prk_steps).
#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

constexpr size_t kRungeKuttaSteps = 3;

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

// Fills the rows of settings.times. h1, h2, h3 keep the answers of the steps before, newest first.
class Filler {
 public:
  Filler(const SamplerSettings& settings, Table* table) : settings_(settings), table_(table) {}

  // Step `i` from times[i] to what comes after, with the mean of up to four answers.
  void AddStep(size_t i) {
    const int64_t t = settings_.times[i];
    const int64_t arrives = TimeAfter(settings_, i);
    const Form step = StepBetween(t, arrives);
    const Mean& mean = kMeans[std::min<size_t>(i, 3)];

    Row row = MakeRow(t, arrives, i);
    row.w[kColX][kColX] = step.x;
    AddAnswer(step.out * mean[0], t, &row.w[kColX]);
    for (size_t k = 1; k < mean.size(); ++k) row.w[kColX][kColH1 + k - 1] = step.out * mean[k];
    PushAnswer(t, &row);
    table_->rows.push_back(row);
  }

  // The first step is of second order, by a trial: its first row goes down by DDIM, and its second,
  // called where that arrives, goes again from the start, kept in h2 meanwhile, with the mean of
  // both answers.
  void AddTrialStep() {
    const int64_t first = settings_.times[0];
    const int64_t second = settings_.times[1];
    const int64_t arrives = TimeAfter(settings_, 0);
    const Form trial_step = StepBetween(first, arrives);
    Row trial = MakeRow(first, arrives, 0);
    trial.completes_step = false;
    trial.w[kColX][kColX] = trial_step.x;
    AddAnswer(trial_step.out, first, &trial.w[kColX]);
    AddAnswer(1, first, &trial.w[kColH1]);
    trial.w[kColH2][kColX] = 1;
    table_->rows.push_back(trial);

    // Where the trial arrives beside the second time, diffusers computes the start from that.
    const Form step = StepBetween(second + first - arrives, second);
    Row again = MakeRow(second, second, 0);
    again.w[kColX][kColH2] = step.x;
    again.w[kColX][kColH1] = step.out / 2;
    AddAnswer(step.out / 2, second, &again.w[kColX]);
    again.w[kColH1][kColH1] = 1;
    table_->rows.push_back(again);
  }

  // Step `i` by Runge-Kutta's method of order 4, from times[i] to times[i+1]. Each row goes from
  // the start, which h4 keeps; h5 gathers the mean of the answers.
  void AddRungeKuttaStep(size_t i) {
    const int64_t start = settings_.times[i];
    const int64_t end = settings_.times[i + 1];
    // As diffusers computes it, also where the way is not twice that. The first row then arrives
    // beside the time that the second is called at.
    const int64_t half = (start - TimeAfter(settings_, i)) / 2;
    const int64_t called[] = {start, end + half, end + half, end};
    const int64_t arrives[] = {start - half, end + half, end, end};
    constexpr double kShares[] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
    for (int stage = 0; stage < 4; ++stage) {
      const bool last = stage == 3;
      const Column kept_start = stage == 0 ? kColX : kColH4;
      const Form step = StepBetween(start, arrives[stage]);
      Row row = MakeRow(called[stage], arrives[stage], i);
      row.completes_step = last;
      row.w[kColX][kept_start] = step.x;
      AddAnswer(last ? step.out * kShares[stage] : step.out, called[stage], &row.w[kColX]);
      if (last) row.w[kColX][kColH5] = step.out;
      if (stage == 0) {
        PushAnswer(called[stage], &row);
      } else {
        for (int h = kColH1; h <= kColH3; ++h) row.w[h][h] = 1;
      }
      if (!last) {
        row.w[kColH4][kept_start] = 1;
        AddAnswer(kShares[stage], called[stage], &row.w[kColH5]);
        if (stage > 0) row.w[kColH5][kColH5] = 1;
      }
      table_->rows.push_back(row);
    }
  }

 private:
  Level LevelAt(int64_t t) const {
    if (t >= 0) return Level(settings_.schedule.alpha_bar(t));
    return Level(settings_.set_alpha_to_one ? 1 : settings_.schedule.alpha_bar(0));
  }

  Form StepBetween(int64_t from, int64_t to) const {
    return StepForm(settings_.prediction, LevelAt(from), LevelAt(to));
  }

  Row MakeRow(int64_t called, int64_t arrives, size_t i) const {
    Row row = DenoiseRow(settings_, static_cast<double>(called), LevelAt(called));
    row.step = static_cast<uint32_t>(i + 1);
    SetState(static_cast<double>(std::max<int64_t>(arrives, -1)), LevelAt(arrives), &row);
    return row;
  }

  void AddAnswer(double factor, int64_t called, std::array<double, kNumColumns>* weights) const {
    const Form form = Answer(settings_, LevelAt(called));
    (*weights)[kColX] += factor * form.x;
    (*weights)[kColOut] += factor * form.out;
    (*weights)[kColX0] += factor * form.x0;
  }

  void PushAnswer(int64_t called, Row* row) const {
    AddAnswer(1, called, &row->w[kColH1]);
    row->w[kColH2][kColH1] = 1;
    row->w[kColH3][kColH2] = 1;
  }

  const SamplerSettings& settings_;
  Table* table_;
};

absl::Status Fill(const SamplerSettings& settings, Table* table) {
  const size_t steps = settings.times.size();
  Filler filler(settings, table);
  size_t begun = 0;
  if (settings.skip_prk_steps) {
    table->registers = 4;
    if (steps > 1) {
      filler.AddTrialStep();
      begun = 1;
    }
  } else {
    table->registers = 6;
    if (steps <= kRungeKuttaSteps) {
      return FieldError(
          settings.custom_times ? "sampler.timesteps" : "sampler.steps",
          absl::StrCat(steps, steps == 1 ? " step is" : " steps are",
                       " too few for pndm's start by Runge-Kutta steps, which the model's "
                       "scheduler_config.json does not skip (skip_prk_steps): run at least ",
                       kRungeKuttaSteps + 1, ", or choose another sampler, such as ddim"));
    }
    for (; begun < kRungeKuttaSteps; ++begun) filler.AddRungeKuttaStep(begun);
  }
  for (size_t i = begun; i < steps; ++i) filler.AddStep(i);
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
