// What a sampler is to the rest of this folder: an entry in a list, and a function that fills rows.
//
// To add one: a file here that defines its SamplerSpec, a SamplerKind, and a line in Samplers().
#ifndef DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_
#define DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/table.h"
#include "server/diffusion/time_grid.h"

namespace denoise {

// A noise level of the forward process: x ~ N(alpha x_0, sigma² I).
struct Level {
  explicit Level(double alpha_bar);
  // The level with sigma/alpha = `ratio`, which says small noise more exactly than alpha_bar does.
  static Level FromRatio(double ratio);
  // The level of a flow model: alpha = 1 - sigma. `sigma` in 0..1.
  static Level OfFlow(double sigma);

  double alpha_bar;  // alpha²
  double alpha;
  double variance;  // sigma², which is 1 - alpha² but for flow models
  double sigma;
  // sigma/alpha, the noise level of the variance-exploding process; infinite where alpha is 0.
  double ratio;
};

// Where a row begins or ends.
struct GridPoint {
  double time;  // -1: the chain's end
  Level level;
};

// A request's options after every default has been filled in and everything has been validated.
struct SamplerSettings {
  const NoiseSchedule& schedule;
  Prediction prediction = Prediction::kEpsilon;
  // Steps of the whole grid, of which times and points are only the last where a chain starts from
  // an image.
  int64_t steps = 0;
  // Whether the times are the caller's own.
  bool custom_times = false;
  // For samplers on TimeGrid::kWhole: times of the denoiser calls, strictly descending.
  std::vector<int64_t> times = {};
  // For the others: one point a step, in descending order, and the level at which the last arrives.
  std::vector<GridPoint> points = {};
  bool clip = false;
  double clip_range = 1;
  // In place of clipping; see Row.
  bool threshold = false;
  double threshold_ratio = 0.995;
  double threshold_max = 1;
  Variance variance = Variance::kFixedSmall;
  double eta = 0;
  bool use_clipped_model_output = false;
  bool set_alpha_to_one = true;
  int order = 2;
  SolverType solver_type = SolverType::kMidpoint;
  bool lower_order_final = true;
  bool euler_at_final = false;
  bool skip_prk_steps = false;

  // Whether x̂0 is something else than what the denoiser's answer says.
  bool bounds_x0() const { return clip || threshold; }
};

// The ways in which samplers choose the noise levels of a flow model; flow_grid.h has the formulas.
enum class FlowGrid { kNone, kEuler, kDpmSolver, kDeis, kUniPc };

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
  int64_t steps_offset = 0;
  bool clip_sample = false;
  double clip_sample_range = 1;
  Variance variance = Variance::kFixedSmall;
  bool set_alpha_to_one = true;
  FinalSigma final_sigma = FinalSigma::kZero;
  int64_t solver_order = 2;

  // Which options mean something to the sampler; another one in a request is an error.
  bool takes_eta = false;
  bool takes_variance = false;
  bool takes_use_clipped_model_output = false;
  bool takes_sigmas = false;
  // Whether the class has these keys in diffusers; of a file for another class they count only
  // where it has.
  bool uses_clip_sample = false;
  bool uses_thresholding = false;
  bool uses_sigmas = false;
  bool uses_final_sigma = false;

  // Whether every row is a step that depends on the rows before it only through x, so that it can
  // be repeated.
  bool repeatable = false;
  // Of a solver that draws noise of the schedule's variance, which contradicts a model that gives
  // the variance: the name of the same solver without noise. Empty: it draws none, or DDPM's.
  absl::string_view without_noise = "";

  TimeGrid grid = TimeGrid::kWhole;
  // kNone: it cannot sample a flow model.
  FlowGrid flow_grid = FlowGrid::kNone;
  // Whether it can begin where alpha is 0 (zero terminal SNR); others begin close to it.
  bool begins_in_noise_alone = false;
  // Whether the first draw is scaled to sigma of the first level rather than to 1, where the
  // spacing begins at the last time (linspace, trailing).
  bool scales_start = false;
  // final_sigma kSigmaMin means: the last row's own level again, where that is of a curve.
  bool repeats_last_level = false;
  // Whether whole times of Karras sigmas are rounded also for the schedule squaredcos_cap_v2.
  bool rounds_cosine_times = true;

  // Appends one or more rows for each of settings.times or settings.points and sets
  // table->registers. The caller has set initial_* and sets what follows from the rows. A
  // FieldError where the settings contradict each other.
  absl::Status (*fill)(const SamplerSettings& settings, Table* table);
};

extern const SamplerSpec kDdpm;
extern const SamplerSpec kDdim;
extern const SamplerSpec kEuler;
extern const SamplerSpec kEulerAncestral;
extern const SamplerSpec kHeun;
extern const SamplerSpec kDpmpp2M;
extern const SamplerSpec kSdeDpmpp2M;
extern const SamplerSpec kDpmpp3M;
extern const SamplerSpec kUniPc;
extern const SamplerSpec kLms;
extern const SamplerSpec kPndm;
extern const SamplerSpec kDeis;

// All of them, in the order in which they are listed to a user.
absl::Span<const SamplerSpec* const> Samplers();
const SamplerSpec& SpecOf(SamplerKind kind);

// ---- What rows are made from.

// Where step `i` of settings.times goes in DDIM: down by ⌊T/N⌋, which is the next time
// of the grid only where that is leading, or to the next of the caller's own times. Below 0: to the
// level of the chain's end.
int64_t TimeAfter(const SamplerSettings& settings, size_t i);

// Coefficients of a linear form in a row's x, out and x̂0.
struct Form {
  double x = 0;
  double out = 0;
  double x0 = 0;
};

// x̂0 before clipping, by what the denoiser predicts: (x - σ out)/α, α x - σ out, out, or x - σ out.
Form PredictedX0(Prediction prediction, const Level& level);
// The ε that goes with that x̂0: out, σ x + α out, (x - α out)/σ, or x + α out.
Form PredictedEpsilon(Prediction prediction, const Level& level);
// The ε that goes with x̂0 as it is after clipping: (x - α x̂0)/σ.
Form EpsilonFromX0(const Level& level);

// A row that calls the denoiser at time t, where x has `level`: timestep, p, q and bounds of x̂0 are
// set, every weight is zero.
Row DenoiseRow(const SamplerSettings& settings, double t, const Level& level);
// Says that the row's x has `level` and belongs to time `t` (-1: it is the sample).
void SetState(double t, const Level& level, Row* row);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SAMPLERS_SAMPLERS_H_
