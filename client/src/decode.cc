#include "client/src/decode.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/floats.h"
#include "client/src/status.h"

namespace denoise {
inline namespace client_v1 {
namespace {

absl::StatusOr<Accepted> DecodeAccepted(const v1::Accepted& wire) {
  auto wait = DecodeDuration(wire.estimated_wait(), "accepted.estimated_wait");
  if (!wait.ok()) return wait.status();
  return Accepted{.request_id = wire.request_id(),
                  .model = wire.model(),
                  .model_version = wire.model_version(),
                  .seed = wire.seed(),
                  .total_steps = wire.total_steps(),
                  .timesteps = {wire.timesteps().begin(), wire.timesteps().end()},
                  .alpha_bars = {wire.alpha_bars().begin(), wire.alpha_bars().end()},
                  .queue_position = wire.queue_position(),
                  .estimated_wait = *wait};
}

absl::Status CheckCount(const char* field, size_t count, size_t expected) {
  if (count == expected) return absl::OkStatus();
  return Malformed(absl::StrCat(field, " has ", count, " values, not ", expected));
}

absl::StatusOr<State> DecodeState(const v1::State& wire, uint64_t num_samples) {
  if (wire.sample_index() >= num_samples) {
    return Malformed(absl::StrCat("state.sample_index is ", wire.sample_index(), " of ",
                                  num_samples, " samples"));
  }
  State state{.sample_index = wire.sample_index(),
              .step = wire.step(),
              .total_steps = wire.total_steps(),
              .timestep = wire.timestep(),
              .alpha_bar = wire.alpha_bar(),
              .sigma = wire.sigma(),
              .tensor = {},
              .png = {}};
  switch (wire.content()) {
    case v1::CONTENT_UNSPECIFIED:
      return state;
    case v1::CONTENT_X_T:
      state.content = Content::kXt;
      break;
    case v1::CONTENT_PREDICTED_X_0:
      state.content = Content::kPredictedX0;
      break;
    default:
      return Malformed(absl::StrCat("state.content is ", wire.content()));
  }
  switch (wire.data_case()) {
    case v1::State::kTensor: {
      auto tensor = DecodeTensor(wire.tensor(), "state.tensor");
      if (!tensor.ok()) return tensor.status();
      if (tensor->shape.size() != 4 || tensor->shape[0] != 1) {
        return Malformed("state.tensor.shape is not [1, C, H, W]");
      }
      state.tensor = *std::move(tensor);
      return state;
    }
    case v1::State::kPng:
      if (wire.png().empty()) return Malformed("state.png is empty");
      state.png = wire.png();
      return state;
    case v1::State::DATA_NOT_SET:
      break;
  }
  return Malformed("state.data is missing");
}

}  // namespace

absl::StatusOr<absl::Duration> DecodeDuration(const google::protobuf::Duration& wire,
                                              const std::string& field) {
  // The bounds of duration.proto: 10,000 years.
  constexpr int64_t kMaxSeconds = 315'576'000'000;
  if (wire.seconds() < -kMaxSeconds || wire.seconds() > kMaxSeconds ||
      wire.nanos() <= -1'000'000'000 || wire.nanos() >= 1'000'000'000) {
    return Malformed(absl::StrCat(field, " is out of a duration's range"));
  }
  return absl::Seconds(wire.seconds()) + absl::Nanoseconds(wire.nanos());
}

absl::StatusOr<Tensor> DecodeTensor(const v1::Tensor& wire, const std::string& field) {
  if (wire.dtype() != v1::DATA_TYPE_FLOAT32) {
    return Malformed(absl::StrCat(field, ".dtype is ", wire.dtype(), ", not FLOAT32"));
  }
  if (wire.shape().empty()) return Malformed(absl::StrCat(field, ".shape is missing"));
  // Bounded by the bytes that came at every turn, so that nothing overflows.
  const uint64_t count = wire.data().size() / sizeof(float);
  uint64_t product = 1;
  for (const int64_t extent : wire.shape()) {
    if (extent <= 0) return Malformed(absl::StrCat(field, ".shape holds ", extent));
    if (static_cast<uint64_t>(extent) > count / product) {
      product = 0;
      break;
    }
    product *= static_cast<uint64_t>(extent);
  }
  if (product == 0 || product * sizeof(float) != wire.data().size()) {
    return Malformed(absl::StrCat(field, ".data has ", wire.data().size(),
                                  " bytes, and its shape asks for another number"));
  }
  return Tensor{{wire.shape().begin(), wire.shape().end()}, BytesToFloats(wire.data())};
}

absl::StatusOr<Model> DecodeModel(const v1::Model& wire) {
  if (wire.name().empty()) return Malformed("model.name is missing");
  if (wire.sample_shape_size() != 3 ||
      std::any_of(wire.sample_shape().begin(), wire.sample_shape().end(), [](int64_t extent) {
        return extent <= 0 || extent > std::numeric_limits<int32_t>::max();
      })) {
    return Malformed("model.sample_shape is not [C, H, W]");
  }
  if (!(wire.value_min() < wire.value_max())) {
    return Malformed(
        absl::StrCat("model.value_min is ", wire.value_min(), " and value_max ", wire.value_max()));
  }
  if (const auto status =
          CheckCount("model.alpha_bars", wire.alpha_bars().size(), wire.num_train_timesteps());
      !status.ok()) {
    return status;
  }
  Model model{.name = wire.name(),
              .version = wire.version(),
              .sample_shape = {wire.sample_shape().begin(), wire.sample_shape().end()},
              .value_min = wire.value_min(),
              .value_max = wire.value_max(),
              .num_classes = wire.num_classes(),
              .null_class = {},
              .inputs = {},
              .prediction_type = wire.prediction_type(),
              .scheduler = wire.scheduler(),
              .num_train_timesteps = wire.num_train_timesteps(),
              .alpha_bars = {wire.alpha_bars().begin(), wire.alpha_bars().end()},
              .default_steps = wire.default_steps(),
              .default_guidance_scale = wire.default_guidance_scale(),
              .layout = wire.layout(),
              .precision = wire.precision(),
              .executor = wire.executor(),
              .replicas = wire.replicas(),
              .threads = wire.threads(),
              .batch_sizes = {wire.batch_sizes().begin(), wire.batch_sizes().end()},
              .sha256 = wire.sha256()};
  switch (wire.status()) {
    case v1::Model::STATUS_LOADING:
      model.status = Model::Status::kLoading;
      break;
    case v1::Model::STATUS_SERVING:
      model.status = Model::Status::kServing;
      break;
    case v1::Model::STATUS_DRAINING:
      model.status = Model::Status::kDraining;
      break;
    default:
      break;
  }
  if (wire.has_null_class()) model.null_class = wire.null_class();
  for (const auto& input : wire.inputs()) {
    model.inputs.push_back(
        {input.name(), input.kind(), {input.shape().begin(), input.shape().end()}});
  }
  return model;
}

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
      num_samples_(request.x_0.shape.empty() ? 0 : std::max<int64_t>(0, request.x_0.shape[0])),
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

}  // namespace client_v1
}  // namespace denoise
