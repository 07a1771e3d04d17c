#include "server/diffusion/beta_config.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/noise_schedule.h"

namespace denoise {
namespace {

// Below this x̂0 = (x - σ out)/α has no digit left in float32 states.
constexpr double kMinAlphaBar = 1e-30;

constexpr std::pair<const char*, BetaSchedule> kBetaSchedules[] = {
    {"linear", BetaSchedule::kLinear},
    {"scaled_linear", BetaSchedule::kScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::kSquaredCosCapV2},
    {"sigmoid", BetaSchedule::kSigmoid}};

// Checks that the forward process is one that can be reversed in float32. With zero SNR that is
// asked of all but its last time, at which nothing is left of x_0.
void ValidateBetas(const char* key, const std::vector<double>& betas, bool zero_snr,
                   ConfigReader* reader) {
  const size_t count = zero_snr ? betas.size() - 1 : betas.size();
  for (size_t t = 0; t < count; ++t) {
    if (!(betas[t] > 0 && betas[t] < 1)) {
      reader->Fail(key, absl::StrCat(betas[t]),
                   absl::StrCat("at t = ", t, " is not between 0 and 1 (as float32)"));
      return;
    }
  }
  const NoiseSchedule schedule(betas);
  double above = 1;
  for (size_t t = 0; t < count; ++t) {
    const double alpha_bar = schedule.alpha_bars()[t];
    if (!(alpha_bar < above)) {
      reader->Fail(
          key, absl::StrCat(betas[t]),
          absl::StrCat("at t = ", t, " is too small: alpha_bar stays at ", above, " (as float32)"));
      return;
    }
    if (alpha_bar < kMinAlphaBar) {
      reader->Fail(key, absl::StrCat(betas[t]),
                   absl::StrCat("at t = ", t, " brings alpha_bar to ", alpha_bar,
                                ", which must stay above ", kMinAlphaBar));
      return;
    }
    above = alpha_bar;
  }
}

// Of betas that are valid themselves.
std::vector<double> Rescale(const std::vector<double>& betas, Prediction prediction,
                            ConfigReader* reader) {
  constexpr const char* kKey = "rescale_betas_zero_snr";
  if (prediction == Prediction::kEpsilon) {
    reader->Fail(kKey, "true",
                 "is not served with prediction_type epsilon, which cannot give x_0 from noise "
                 "alone; it goes with v_prediction or sample");
    return {};
  }
  if (betas.size() < 2) {
    reader->Fail(kKey, "true", "needs a num_train_timesteps of at least 2");
    return {};
  }
  std::vector<double> rescaled = RescaleToZeroSnr(betas);
  ValidateBetas(kKey, rescaled, /*zero_snr=*/true, reader);
  return rescaled;
}

}  // namespace

std::vector<double> ReadBetas(const SamplerSpec& spec, Prediction prediction,
                              ConfigReader* reader) {
  const std::optional<int64_t> given_count =
      reader->Integer("num_train_timesteps", 1, kMaxTrainTimesteps);
  const bool zero_snr = reader->IsOn("rescale_betas_zero_snr");
  const int64_t count = given_count.value_or(spec.num_train_timesteps);
  const double start = reader->Number("beta_start", 0, 1).value_or(spec.beta_start);
  const double end = reader->Number("beta_end", 0, 1).value_or(spec.beta_end);
  const BetaSchedule schedule =
      reader->OneOf<BetaSchedule>("beta_schedule", kBetaSchedules).value_or(spec.beta_schedule);
  std::optional<std::vector<double>> trained = reader->Numbers("trained_betas");
  if (!reader->status().ok()) return {};

  const char* key = trained.has_value() ? "trained_betas" : "beta_schedule";
  std::vector<double> betas;
  if (!trained.has_value()) {
    betas = MakeBetas(schedule, count, start, end);
  } else if (static_cast<int64_t>(trained->size()) != count) {
    reader->Fail("trained_betas", absl::StrCat("a list of ", trained->size()),
                 absl::StrCat("does not fit num_train_timesteps, ", count,
                              given_count.has_value() ? "" : " by default"));
    return {};
  } else {
    betas = *std::move(trained);
    for (double& beta : betas) beta = static_cast<float>(beta);
  }
  ValidateBetas(key, betas, /*zero_snr=*/false, reader);
  if (!reader->status().ok()) return {};
  return zero_snr ? Rescale(betas, prediction, reader) : betas;
}

}  // namespace denoise
