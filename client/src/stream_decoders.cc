#include "client/src/stream_decoders.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/decode.h"
#include "client/src/status.h"

namespace denoise {
inline namespace client_v1 {
namespace {

uint64_t SamplesOf(const Tensor& x_0) {
  return x_0.shape.empty() ? 0 : std::max<int64_t>(0, x_0.shape[0]);
}

// One value a sample, each finite and at least `least`.
absl::Status CheckValues(const char* field, const google::protobuf::RepeatedField<double>& values,
                         size_t num_samples, double least) {
  if (auto status = CheckCount(field, values.size(), num_samples); !status.ok()) return status;
  for (const double value : values) {
    if (!std::isfinite(value) || value < least) {
      return Malformed(absl::StrCat(field, " holds ", value));
    }
  }
  return absl::OkStatus();
}

constexpr double kAny = -std::numeric_limits<double>::infinity();

}  // namespace

SampleDecoder::SampleDecoder(const SampleRequest& request)
    : num_samples_(std::max<uint32_t>(1, request.num_samples)), encoding_(request.encoding) {}

absl::StatusOr<Event> SampleDecoder::Decode(const v1::SampleEvent& wire) {
  if (wire.has_accepted() != (phase_ == Phase::kBegin) || phase_ == Phase::kEnd) {
    return Malformed("events came out of order");
  }
  switch (wire.event_case()) {
    case v1::SampleEvent::kAccepted: {
      auto accepted = DecodeAccepted(wire.accepted());
      if (!accepted.ok()) return accepted.status();
      const uint64_t steps = accepted->total_steps;
      if (auto s = CheckCount("accepted.timesteps", accepted->timesteps.size(), steps); !s.ok()) {
        return s;
      }
      if (auto s = CheckCount("accepted.alpha_bars", accepted->alpha_bars.size(), steps + 1);
          !s.ok()) {
        return s;
      }
      phase_ = Phase::kStates;
      total_steps_ = accepted->total_steps;
      return Event(*std::move(accepted));
    }
    case v1::SampleEvent::kState: {
      auto state = DecodeState(wire.state(), num_samples_);
      if (!state.ok()) return state.status();
      if (state->total_steps != total_steps_ || state->step > total_steps_) {
        return Malformed(absl::StrCat("state.step is ", state->step, " of ", state->total_steps,
                                      ", in a chain of ", total_steps_));
      }
      return Event(*std::move(state));
    }
    case v1::SampleEvent::kResult: {
      auto result = DecodeResult(wire.result());
      if (!result.ok()) return result.status();
      phase_ = Phase::kEnd;
      return Event(*std::move(result));
    }
    case v1::SampleEvent::EVENT_NOT_SET:
      break;
  }
  return Malformed("an event is empty");
}

absl::StatusOr<Result> SampleDecoder::DecodeResult(const v1::Result& wire) const {
  Result result;
  if (encoding_ == Encoding::kPng) {
    const auto status = CheckCount("result.pngs", wire.pngs_size(), num_samples_);
    if (!status.ok()) return status;
    result.pngs = {wire.pngs().begin(), wire.pngs().end()};
    if (std::any_of(result.pngs.begin(), result.pngs.end(),
                    [](const std::string& png) { return png.empty(); })) {
      return Malformed("one of result.pngs is empty");
    }
  } else {
    auto samples = DecodeTensor(wire.samples(), "result.samples");
    if (!samples.ok()) return samples.status();
    if (samples->shape.size() != 4 || samples->shape[0] != num_samples_) {
      return Malformed(absl::StrCat("result.samples.shape is not [", num_samples_, ", C, H, W]"));
    }
    result.samples = *std::move(samples);
  }
  const auto duration = [](const google::protobuf::Duration& wire, const char* field,
                           absl::Duration* out) -> absl::Status {
    auto decoded = DecodeDuration(wire, field);
    if (decoded.ok()) *out = *decoded;
    return decoded.status();
  };
  const v1::Timing& timing = wire.timing();
  absl::Status status = duration(timing.queue(), "timing.queue", &result.timing.queue);
  status.Update(duration(timing.sampling(), "timing.sampling", &result.timing.sampling));
  status.Update(duration(timing.total(), "timing.total", &result.timing.total));
  if (timing.has_first_state()) {
    status.Update(
        duration(timing.first_state(), "timing.first_state", &result.timing.first_state.emplace()));
  }
  if (!status.ok()) return status;
  result.states_dropped = wire.states_dropped();
  result.denoiser_rows = wire.denoiser_rows();
  return result;
}

absl::Status SampleDecoder::AtEnd() const {
  if (phase_ == Phase::kEnd) return absl::OkStatus();
  return Malformed("the stream ended without a result");
}

DiffuseDecoder::DiffuseDecoder(const DiffuseRequest& request)
    : num_timesteps_(request.timesteps.size()),
      num_samples_(SamplesOf(request.x_0)),
      states_left_(num_samples_ * num_timesteps_) {}

absl::StatusOr<DiffuseEvent> DiffuseDecoder::Decode(const v1::DiffuseEvent& wire) {
  if (wire.has_accepted() == accepted_) return Malformed("events came out of order");
  switch (wire.event_case()) {
    case v1::DiffuseEvent::kAccepted: {
      auto accepted = DecodeAccepted(wire.accepted());
      if (!accepted.ok()) return accepted.status();
      auto status = CheckCount("accepted.timesteps", accepted->timesteps.size(), num_timesteps_);
      status.Update(CheckCount("accepted.alpha_bars", accepted->alpha_bars.size(), num_timesteps_));
      if (!status.ok()) return status;
      accepted_ = true;
      return DiffuseEvent(*std::move(accepted));
    }
    case v1::DiffuseEvent::kState: {
      auto state = DecodeState(wire.state(), num_samples_);
      if (!state.ok()) return state.status();
      if (states_left_ == 0) return Malformed("more states came than were asked for");
      --states_left_;
      return DiffuseEvent(*std::move(state));
    }
    case v1::DiffuseEvent::EVENT_NOT_SET:
      break;
  }
  return Malformed("an event is empty");
}

absl::Status DiffuseDecoder::AtEnd() const {
  if (accepted_ && states_left_ == 0) return absl::OkStatus();
  return Malformed(absl::StrCat("the stream ended with ", states_left_, " states missing"));
}

// With K timesteps asked for: one of each of K strata at most, and t = 0.
EvaluateDecoder::EvaluateDecoder(const EvaluateRequest& request)
    : num_samples_(SamplesOf(request.x_0)),
      most_terms_(request.num_timesteps > 0 ? size_t{request.num_timesteps} + 1
                                            : std::numeric_limits<size_t>::max()) {}

absl::StatusOr<EvaluateEvent> EvaluateDecoder::Decode(const v1::EvaluateEvent& wire) {
  if (wire.has_accepted() != (phase_ == Phase::kBegin) || phase_ == Phase::kEnd) {
    return Malformed("events came out of order");
  }
  switch (wire.event_case()) {
    case v1::EvaluateEvent::kAccepted:
      phase_ = Phase::kTerms;
      return DecodeAcceptedTerms(wire.accepted());
    case v1::EvaluateEvent::kTerm:
      return DecodeTerm(wire.term());
    case v1::EvaluateEvent::kLikelihood:
      if (num_missing_ > 0) {
        return Malformed(absl::StrCat("the likelihood came with ", num_missing_, " terms missing"));
      }
      phase_ = Phase::kEnd;
      return DecodeLikelihood(wire.likelihood());
    case v1::EvaluateEvent::EVENT_NOT_SET:
      break;
  }
  return Malformed("an event is empty");
}

absl::StatusOr<EvaluateEvent> EvaluateDecoder::DecodeAcceptedTerms(const v1::Accepted& wire) {
  auto accepted = DecodeAccepted(wire);
  if (!accepted.ok()) return accepted.status();
  const auto& timesteps = accepted->timesteps;
  if (timesteps.empty() || timesteps.size() > most_terms_) {
    return Malformed(absl::StrCat("accepted.timesteps has ", timesteps.size(), " values"));
  }
  if (auto s = CheckCount("accepted.alpha_bars", accepted->alpha_bars.size(), timesteps.size());
      !s.ok()) {
    return s;
  }
  // Whole numbers beyond are not exact in float32; NaN fails too.
  float bound = 1 << 24;
  for (const float t : timesteps) {
    if (!(t >= 0 && t < bound) || t != std::floor(t)) {
      return Malformed(absl::StrCat("accepted.timesteps holds ", t,
                                    ": not a whole number below the one before it"));
    }
    if (missing_.empty()) missing_.resize(static_cast<size_t>(t) + 1);
    missing_[static_cast<size_t>(t)] = true;
    bound = t;
  }
  num_missing_ = timesteps.size();
  return EvaluateEvent(*std::move(accepted));
}

absl::StatusOr<EvaluateEvent> EvaluateDecoder::DecodeTerm(const v1::Term& wire) {
  if (wire.timestep() >= missing_.size() || !missing_[wire.timestep()]) {
    return Malformed(absl::StrCat("term.timestep is ", wire.timestep(),
                                  ", which was not announced, or has come before"));
  }
  missing_[wire.timestep()] = false;
  --num_missing_;
  auto status = CheckValues("term.bits_per_dim", wire.bits_per_dim(), num_samples_, kAny);
  status.Update(CheckValues("term.eps_mse", wire.eps_mse(), num_samples_, 0));
  status.Update(CheckValues("term.x_0_mse", wire.x_0_mse(), num_samples_, 0));
  if (!status.ok()) return status;
  return EvaluateEvent(
      Term{.timestep = wire.timestep(),
           .bits_per_dim = {wire.bits_per_dim().begin(), wire.bits_per_dim().end()},
           .eps_mse = {wire.eps_mse().begin(), wire.eps_mse().end()},
           .x_0_mse = {wire.x_0_mse().begin(), wire.x_0_mse().end()}});
}

absl::StatusOr<EvaluateEvent> EvaluateDecoder::DecodeLikelihood(const v1::Likelihood& wire) const {
  const auto& total = wire.total_bits_per_dim();
  const auto& prior = wire.prior_bits_per_dim();
  const auto& error = wire.standard_error();
  auto status = CheckValues("likelihood.total_bits_per_dim", total, num_samples_, kAny);
  status.Update(CheckValues("likelihood.prior_bits_per_dim", prior, num_samples_, kAny));
  status.Update(CheckValues("likelihood.standard_error", error, num_samples_, 0));
  if (!status.ok()) return status;
  return EvaluateEvent(Likelihood{.total_bits_per_dim = {total.begin(), total.end()},
                                  .prior_bits_per_dim = {prior.begin(), prior.end()},
                                  .standard_error = {error.begin(), error.end()}});
}

absl::Status EvaluateDecoder::AtEnd() const {
  if (phase_ == Phase::kEnd) return absl::OkStatus();
  return Malformed("the stream ended without a likelihood");
}

}  // namespace client_v1
}  // namespace denoise
