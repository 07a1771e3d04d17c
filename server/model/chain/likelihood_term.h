// What a row of a likelihood computes in place of an update: its summand of the bound.
#ifndef DENOISE_SERVER_MODEL_CHAIN_LIKELIHOOD_TERM_H_
#define DENOISE_SERVER_MODEL_CHAIN_LIKELIHOOD_TERM_H_

#include <cstdint>

#include "server/diffusion/likelihood.h"
#include "server/diffusion/table.h"

namespace denoise {

// Values that an element of a sample can have: `levels` of them, evenly over min..max.
struct ValueLevels {
  double min = -1;
  double max = 1;
  int64_t levels = 256;  // at least 2
};

// What a term reads, each [n] values, n = C·H·W.
struct TermInputs {
  const float* x_0 = nullptr;
  const float* z = nullptr;    // standard normal
  const float* out = nullptr;  // the denoiser's answer at x_t; [2n] where the variance is learned
};

// x_t = alpha x_0 + sigma z, computed in double and rounded once: what the denoiser is given.
void MakeNoisy(const Term& term, int64_t n, const float* x_0, const float* z, float* x_t);

// Computes the term from the denoiser's answer for that x_t:
//
//   KL(N(μ̃, β̃) ‖ N(μ, v)) = ½ Σ (log v - log β̃ - 1 + β̃/v + (μ̃ - μ)²/v)
//
// with μ̃ - μ = mean_of_x0 (x_0 - x̂0) and v the term's or, per element, the row's learned variance;
// where the term is discretised, -Σ log of the mass that N(μ, v) gives to the bin of x_0, the
// outermost bins open (Ho et al. 2020, equation 13). A mass is at least 1e-12, as in the published
// code; Φ is exact, where that code approximates it by tanh.
//
// The squared errors are of x̂0 after clipping, and of the ε that goes with it. All sums are of
// doubles, in the order of the values. False where the denoiser's answer or a sum is not finite;
// `values` is then of no use.
bool ReduceTerm(const Row& row, const Term& term, const ValueLevels& levels, int64_t n,
                const TermInputs& in, TermValues* values);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_LIKELIHOOD_TERM_H_
