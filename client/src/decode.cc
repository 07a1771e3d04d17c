#include "client/src/decode.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/little_endian.h"
#include "client/src/status.h"

namespace denoise {
inline namespace client_v1 {
namespace {

DataType DecodeDataType(v1::DataType wire) {
  switch (wire) {
    case v1::DATA_TYPE_FLOAT32:
      return DataType::kFloat32;
    case v1::DATA_TYPE_INT64:
      return DataType::kInt64;
    case v1::DATA_TYPE_BOOL:
      return DataType::kBool;
    default:
      return DataType::kUnknown;
  }
}

bool IsSampleShape(const google::protobuf::RepeatedField<int64_t>& shape) {
  return shape.size() == 3 && std::all_of(shape.begin(), shape.end(), [](int64_t extent) {
           return extent > 0 && extent <= std::numeric_limits<int32_t>::max();
         });
}

}  // namespace

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
                  .estimated_wait = *wait,
                  .numerics_id = wire.numerics_id()};
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
  return Tensor{{wire.shape().begin(), wire.shape().end()}, FromBytes<float>(wire.data())};
}

absl::StatusOr<Model> DecodeModel(const v1::Model& wire) {
  if (wire.name().empty()) return Malformed("model.name is missing");
  if (!IsSampleShape(wire.sample_shape())) return Malformed("model.sample_shape is not [C, H, W]");
  if (!(wire.value_min() < wire.value_max())) {
    return Malformed(
        absl::StrCat("model.value_min is ", wire.value_min(), " and value_max ", wire.value_max()));
  }
  if (wire.has_decoder() && !IsSampleShape(wire.decoded_shape())) {
    return Malformed("model.decoded_shape is not [C, H, W]");
  }
  if (wire.has_decoder() && !(wire.decoded_value_min() < wire.decoded_value_max())) {
    return Malformed(absl::StrCat("model.decoded_value_min is ", wire.decoded_value_min(),
                                  " and decoded_value_max ", wire.decoded_value_max()));
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
              .sha256 = wire.sha256(),
              .tuning = {},
              .numerics_id = wire.numerics_id()};
  if (wire.has_decoder()) {
    model.has_decoder = true;
    model.decoded_shape = {wire.decoded_shape().begin(), wire.decoded_shape().end()};
    model.decoded_value_min = wire.decoded_value_min();
    model.decoded_value_max = wire.decoded_value_max();
  }
  for (const v1::TuningResult& way : wire.tuning()) {
    model.tuning.push_back({.executor = way.executor(),
                            .layout = way.layout(),
                            .precision = way.precision(),
                            .replicas = way.replicas(),
                            .threads = way.threads(),
                            .batch_size = way.batch_size(),
                            .rows_per_second = way.rows_per_second(),
                            .call_seconds = way.call_seconds(),
                            .relative_error = way.relative_error(),
                            .chosen = way.chosen()});
  }
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
    if (std::any_of(input.shape().begin(), input.shape().end(),
                    [](int64_t extent) { return extent < -1 || extent == 0; })) {
      return Malformed(
          absl::StrCat("model.inputs holds '", input.name(), "', whose shape has extents below 1"));
    }
    model.inputs.push_back({.name = input.name(),
                            .kind = input.kind(),
                            .shape = {input.shape().begin(), input.shape().end()},
                            .dtype = DecodeDataType(input.dtype())});
  }
  return model;
}

}  // namespace client_v1
}  // namespace denoise
