// What a sampler is to the rest of this folder: an entry in a list, and a function that fills rows.
//
// To add one: a file here that defines its SamplerSpec, a SamplerKind, and a line in Samplers().
#ifndef DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_
#define DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/table.h"

namespace denoise {

// A request's options after every default has been filled in and everything has been validated.
struct SamplerSettings {
  const NoiseSchedule& schedule;
  Prediction prediction = Prediction::kEpsilon;
  // Times of the denoiser calls, strictly descending.
  std::vector<int64_t> times = {};
  bool clip = false;
  double clip_range = 1;
  Variance variance = Variance::kFixedSmall;
  double eta = 0;
  bool use_clipped_model_output = false;
  bool set_alpha_to_one = true;
};

struct SamplerSpec {
  SamplerKind kind;
  absl::string_view name;        // "ddpm"
  absl::string_view class_name;  // "DDPMScheduler"

  // Schedule keys that a scheduler_config.json of this class does not have.
  int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::kLinear;

  // Sampling keys that neither the request nor scheduler_config.json has: the defaults of the
  // class in diffusers.
  Spacing spacing;
  int64_t steps_offset;
  bool clip_sample;
  double clip_sample_range;
  Variance variance;
  bool set_alpha_to_one;

  // Which options mean something to the sampler; another one in a request is an error.
  bool takes_eta;
  bool takes_variance;
  bool takes_use_clipped_model_output;

  // Appends one or more rows for each of settings.times and sets table->registers. The caller has
  // set initial_* and sets what follows from the rows.
  void (*fill)(const SamplerSettings& settings, Table* table);
};

extern const SamplerSpec kDdpm;
extern const SamplerSpec kDdim;

// All of them, in the order in which they are listed to a user.
absl::Span<const SamplerSpec* const> Samplers();
const SamplerSpec& SpecOf(SamplerKind kind);

// ---- What rows are made from.

// A noise level of the forward process: x ~ N(alpha x_0, sigma² I).
struct Level {
  explicit Level(double alpha_bar);

  double alpha_bar;  // alpha²
  double alpha;
  double variance;  // sigma² = 1 - alpha²
  double sigma;
};

// Coefficients of a linear form in a row's x, out and x̂0.
struct Form {
  double x = 0;
  double out = 0;
  double x0 = 0;
};

// x̂0 before clipping, by what the denoiser predicts: (x - σ out)/α, α x - σ out, or out.
Form PredictedX0(Prediction prediction, const Level& level);
// The ε that goes with that x̂0: out, σ x + α out, or (x - α out)/σ.
Form PredictedEpsilon(Prediction prediction, const Level& level);
// The ε that goes with x̂0 as it is after clipping: (x - α x̂0)/σ.
Form EpsilonFromX0(const Level& level);

// A row that calls the denoiser at time t, where x has `level`: timestep, p, q and clipping are
// set, every weight is zero.
Row DenoiseRow(const SamplerSettings& settings, int64_t t, const Level& level);
// Says that the row's x has `level` and belongs to time `t` (-1: it is the sample).
void SetState(double t, const Level& level, Row* row);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_
