// The variational bound on the log-likelihood of a sample, as terms that can be computed in any
// order and together with any other rows.
//
//     -log p(x_0) ≤ L_T + Σ_{t=1}^{T-1} L_t + L_0                            (in nats)
//     L_T = KL(q(x_T|x_0) ‖ N(0, I))
//     L_t = KL(q(x_{t-1}|x_t, x_0) ‖ p(x_{t-1}|x_t))
//     L_0 = -log p(x_0|x_1), a Gaussian discretised into the levels of a picture
//
// Ho et al. 2020, equations 5 to 8 and 13; Nichol & Dhariwal 2021, section 3. Bits per dimension
// are nats / (D ln 2), D = C·H·W.
#ifndef DENOISE_SERVER_DIFFUSION_LIKELIHOOD_H_
#define DENOISE_SERVER_DIFFUSION_LIKELIHOOD_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/table.h"

namespace denoise {

struct LikelihoodOptions {
  // 0: all. Else K in 2..T: t = 0, and one t drawn from each of K strata of equal width in
  // log(ᾱ/(1-ᾱ)) over t = 1..T-1 (fewer where a stratum holds no t), weighted by 1/probability.
  // Where ᾱ is 0 at T-1 that t is outside the strata and always there.
  uint32_t num_timesteps = 0;
  std::optional<bool> clip_sample = std::nullopt;  // absent: as the config says
  uint64_t seed = 0;  // of the choice of timesteps, not of noise; the same on every platform
};

// Rows in descending t, each with its Term. p is the process of ancestral sampling: variance and
// clipping are the config's, else that sampler's. A FieldError "num_timesteps" out of range,
// "model" where the bound has no meaning (flow models) or the config contradicts itself or the
// denoiser.
absl::StatusOr<Table> MakeLikelihoodTable(const SchedulerConfig& config,
                                          const NoiseSchedule& schedule, bool learned_variance,
                                          const LikelihoodOptions& options);

// What one row finds for one sample.
struct TermValues {
  double nats = 0;     // summed over the sample's values
  double eps_mse = 0;  // of the ε that goes with x̂0 as it is after clipping
  double x_0_mse = 0;
};

// L_T in nats, summed over the values of x_0.
double PriorNats(const NoiseSchedule& schedule, absl::Span<const float> x_0);

struct Bound {
  double nats = 0;  // L_T + Σ weight · L
  // Of the weighted sum as an estimate of its expectation over the choice of timesteps and the
  // noise of the terms t ≥ 1, from differences of neighbouring strata; 0 where nothing was left to
  // choice.
  double standard_error = 0;
};

// `nats`: of table.terms, in order.
Bound BoundOf(const Table& table, double prior_nats, absl::Span<const double> nats);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_LIKELIHOOD_H_
