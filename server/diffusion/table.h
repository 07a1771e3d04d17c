// A sampler, as data: the rows that a chain walks through.
//
// Every process served here, reverse or forward, is a list of rows made in double precision. One
// row is at most one denoiser evaluation. With registers x, h1, h2, h3 a row means
//
//     out         = denoiser(x, timestep)              only where `denoise`
//     x̂0          = p x + q out                        then clipped where `clip`
//     [x, h1, …]  = W [x, h1, h2, h3, out, x̂0, z]      z ~ N(0, I), drawn only where `noise`
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

inline constexpr int kMaxRegisters = 4;

// Columns of a row's weights. The first kMaxRegisters are the registers before the row.
enum Column : int { kColX = 0, kColH1, kColH2, kColH3, kColOut, kColX0, kColZ, kNumColumns };

// How the noise of a row is scaled per element, beyond its weight in the z column.
enum class RowVariance : uint8_t {
  kNone,          // z as it is
  kLearned,       // z · exp(½ o₂), o₂ the denoiser's second C channels
  kLearnedRange,  // z · exp(½ (f log_var_max + (1-f) log_var_min)), f = (o₂+1)/2
};

struct Row {
  // False for transitions of the forward process: `out` and x̂0 do not exist.
  bool denoise = true;
  // Model time given to the denoiser; fractional for some samplers.
  double timestep = 0;
  // x̂0 = p x + q out.
  double p = 0;
  double q = 0;
  // |x̂0| ≤ clip_range where `clip`.
  bool clip = false;
  double clip_range = 1;
  // Whether z is drawn, even if its weights are zero: the number of draws is part of a sampler's
  // definition.
  bool noise = false;
  RowVariance variance = RowVariance::kNone;
  double log_var_min = 0;
  double log_var_max = 0;
  // w[r] gives register r after the row; a zero weight leaves its column out altogether (0 · NaN
  // would be NaN).
  std::array<std::array<double, kNumColumns>, kMaxRegisters> w{};

  // What x is after the row: the step that the row belongs to (1..total_steps), the time, ᾱ and σ
  // of x, and whether x is then the state after that step (false for intermediate stages, such as a
  // predictor's).
  uint32_t step = 0;
  bool completes_step = true;
  double state_timestep = -1;
  double state_alpha_bar = 1;
  double state_sigma = 0;
};

// Immutable once made; shared between threads and requests.
struct Table {
  std::vector<Row> rows;
  // 1..kMaxRegisters: x, and how many h.
  int registers = 1;
  // x_T is the first draw of the chain's noise (or the caller's) times this.
  double initial_scale = 1;
  uint32_t total_steps = 0;
  // Time, ᾱ and σ of the state that a chain starts from.
  double initial_timestep = 0;
  double initial_alpha_bar = 0;
  double initial_sigma = 1;
  // Whether any row draws noise: then a chain keeps its generator.
  bool stochastic = false;
  // Whether any row's timestep is not an integer.
  bool fractional_times = false;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_TABLE_H_
