// A sampler, as data: the rows that a chain walks through.
//
// Every process served here, reverse or forward, is a list of rows made in double precision. One
// row is at most one denoiser evaluation. With registers x, h1, …, h5 a row means
//
//     out         = denoiser(x, timestep)             only where `denoise`
//     x̂0          = p x + q out                       then thresholded or clipped where it says so
//     [x, h1, …]  = W [x, h1, …, h5, out, x̂0, z]      z ~ N(0, I), drawn only where `noise`
//     x           = m (α' known + σ' z') + (1-m) x    where it blends, m the chain's mask
//
// x is always the x_t of the model's own forward process, N(alpha_t x_0, sigma_t² I), so neither
// model input nor streamed state depends on the sampler. Whoever runs rows never needs to know
// which sampler made them.
#ifndef DENOISE_SERVER_DIFFUSION_TABLE_H_
#define DENOISE_SERVER_DIFFUSION_TABLE_H_

#include <array>
#include <cstdint>
#include <vector>

namespace denoise {

// What the Runge-Kutta rows of PNDM need.
inline constexpr int kMaxRegisters = 6;

// Columns of a row's weights. The first kMaxRegisters are the registers before the row.
enum Column : int {
  kColX = 0,
  kColH1,
  kColH2,
  kColH3,
  kColH4,
  kColH5,
  kColOut,
  kColX0,
  kColZ,
  kNumColumns
};

// How the noise of a row is scaled per element, beyond its weight in the z column.
enum class RowVariance : uint8_t {
  kNone,          // z as it is
  kLearned,       // z · exp(½ o₂), o₂ the denoiser's second C channels
  kLearnedRange,  // z · exp(½ (f log_var_max + (1-f) log_var_min)), f = (o₂+1)/2
};

// Inpainting: what becomes of x after the row, where the chain's mask m keeps a known x_0.
enum class Blend : uint8_t {
  kNone,
  kKeptNoise,   // z' is the chain's first draw, the one that x_T was made from
  kFreshNoise,  // z' is drawn for the row, after its z
  kKnown,       // no noise: x ← m known + (1-m) x
};

struct Row {
  // False for transitions of the forward process: `out` and x̂0 do not exist.
  bool denoise = true;
  // Model time given to the denoiser; fractional for some samplers.
  double timestep = 0;
  // sigma/alpha of the x that the row begins with, which says whether guidance acts on it; infinite
  // where alpha is 0.
  double noise_ratio = 0;
  // x̂0 = p x + q out.
  double p = 0;
  double q = 0;
  // |x̂0| ≤ clip_range where `clip`.
  bool clip = false;
  double clip_range = 1;
  // Dynamic thresholding (Saharia et al. 2022) in place of clipping: with s the quantile
  // `threshold_ratio` of |x̂0| over the sample, brought into 1..threshold_max,
  // x̂0 ← clamp(x̂0, ±s)/s.
  bool threshold = false;
  double threshold_ratio = 0.995;
  double threshold_max = 1;
  // Whether z is drawn, even if its weights are zero: the number of draws is part of a sampler's
  // definition.
  bool noise = false;
  RowVariance variance = RowVariance::kNone;
  double log_var_min = 0;
  double log_var_max = 0;
  // w[r] gives register r after the row; a zero weight leaves its column out altogether (0 · NaN
  // would be NaN).
  std::array<std::array<double, kNumColumns>, kMaxRegisters> w{};
  // α' and σ' are those of the level at which x then is.
  Blend blend = Blend::kNone;
  double blend_alpha = 1;
  double blend_sigma = 0;

  // What x is after the row: the step that the row belongs to (1..total_steps, never falling from
  // row to row), the time, ᾱ and σ of x, and whether x is then the state after that step (false for
  // intermediate stages, such as a predictor's, and for rows that go back to make steps again).
  uint32_t step = 0;
  bool completes_step = true;
  double state_timestep = -1;
  double state_alpha_bar = 1;
  double state_sigma = 0;
};

// A summand of the likelihood bound, at the time of its row: with x_t = alpha x_0 + sigma z, z one
// draw, KL(q(x_{t-1}|x_t,x_0) || p(x_{t-1}|x_t)), or -log p(x_0|x_1) where `discretised`. The
// posterior's mean and the model's differ by mean_of_x0 (x_0 - x̂0). See likelihood.h.
struct Term {
  double alpha = 1;
  double sigma = 0;
  // Of the posterior's mean: of x_0, and of x_t.
  double mean_of_x0 = 0;
  double mean_of_x = 0;
  // log β̃, the posterior's variance; the model's, unless the row's RowVariance gives it.
  double log_posterior_variance = 0;
  double log_model_variance = 0;
  bool discretised = false;
  // 1/probability with which this timestep was drawn, and which draw it was; 1 and -1 where it is
  // there for certain.
  double weight = 1;
  int stratum = -1;
};

// Immutable once made; shared between threads and requests.
struct Table {
  std::vector<Row> rows;
  // 1..kMaxRegisters: x, and how many h.
  int registers = 1;
  // The chain starts from image_scale times the caller's image, where there is one, plus
  // initial_scale times the first draw of the chain's noise (or the caller's).
  double initial_scale = 1;
  double image_scale = 0;
  // Transitions toward x_0, of a chain that starts from an image those that are run. Where steps
  // are made again (inpainting.h) each time counts, so that a chain's step numbers always ascend
  // while its times need not fall.
  uint32_t total_steps = 0;
  // Time, ᾱ and σ of the state that a chain starts from.
  double initial_timestep = 0;
  double initial_alpha_bar = 0;
  double initial_sigma = 1;
  // Whether any row draws noise: then a chain keeps its generator.
  bool stochastic = false;
  // Whether any row's timestep is not an integer.
  bool fractional_times = false;
  // Whether any row blends with kKeptNoise: then the first draw is kept beside the registers.
  bool keeps_noise = false;
  // Of a likelihood: one for each row, which then computes it and leaves the registers alone. Such
  // rows are independent of each other.
  std::vector<Term> terms;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_TABLE_H_
