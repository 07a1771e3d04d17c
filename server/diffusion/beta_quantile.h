// The quantile function of the beta distribution.
#ifndef DENOISE_SERVER_DIFFUSION_BETA_QUANTILE_H_
#define DENOISE_SERVER_DIFFUSION_BETA_QUANTILE_H_

namespace denoise {

// The x in [0, 1] with P(X ≤ x) = p for X ~ Beta(shape, shape), to about 1e-13. `p`: 0..1;
// `shape` > 0.
double SymmetricBetaQuantile(double p, double shape);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_BETA_QUANTILE_H_
