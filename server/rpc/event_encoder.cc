#include "server/rpc/event_encoder.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/media/png.h"
#include "server/rpc/duration.h"
#include "server/rpc/tensor_proto.h"

namespace denoise {
namespace {

absl::StatusOr<std::string> Png(const ModelInfo& model, absl::Span<const float> values) {
  return EncodePng(values, model.shape.channels, model.shape.height, model.shape.width,
                   model.value_min, model.value_max);
}

v1::Content ContentOf(Content content) {
  switch (content) {
    case Content::kProgress:
      return v1::CONTENT_UNSPECIFIED;
    case Content::kXt:
      return v1::CONTENT_X_T;
    case Content::kPredictedX0:
      return v1::CONTENT_PREDICTED_X_0;
  }
  return v1::CONTENT_UNSPECIFIED;
}

}  // namespace

void EncodeAccepted(const Request& request, bool forward, v1::Accepted* message) {
  const Table& table = *request.table;
  message->set_request_id(request.id);
  message->set_model(request.model->name);
  message->set_model_version(request.model->version);
  message->set_seed(request.seed);
  message->set_total_steps(table.total_steps);
  if (!forward) message->add_alpha_bars(static_cast<float>(table.initial_alpha_bar));
  uint32_t step_begun = 0;
  for (const Row& row : table.rows) {
    if (!forward && row.denoise && row.step != step_begun) {
      step_begun = row.step;
      message->add_timesteps(static_cast<float>(row.timestep));
    }
    if (!row.completes_step) continue;
    if (forward) message->add_timesteps(static_cast<float>(row.state_timestep));
    message->add_alpha_bars(static_cast<float>(row.state_alpha_bar));
  }
}

absl::Status EncodeState(const Request& request, bool png, const StateEvent& event,
                         v1::State* message) {
  message->set_sample_index(event.sample_index);
  message->set_step(event.step);
  message->set_total_steps(request.table->total_steps);
  message->set_timestep(static_cast<float>(event.timestep));
  message->set_alpha_bar(static_cast<float>(event.alpha_bar));
  message->set_sigma(static_cast<float>(event.sigma));
  message->set_content(ContentOf(event.content));
  if (event.content == Content::kProgress) return absl::OkStatus();
  if (!png) {
    const SampleShape& shape = request.model->shape;
    SetTensor({1, shape.channels, shape.height, shape.width}, event.values,
              message->mutable_tensor());
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> picture = Png(*request.model, event.values);
  if (!picture.ok()) return picture.status();
  message->set_png(*std::move(picture));
  return absl::OkStatus();
}

absl::Status EncodeResult(const Request& request, bool png, const ResultEvent& event,
                          v1::Result* message) {
  v1::Timing* timing = message->mutable_timing();
  SetDuration(event.queue_seconds, timing->mutable_queue());
  SetDuration(event.sampling_seconds, timing->mutable_sampling());
  if (event.first_state_seconds.has_value()) {
    SetDuration(*event.first_state_seconds, timing->mutable_first_state());
  }
  SetDuration(event.total_seconds, timing->mutable_total());
  message->set_states_dropped(event.states_dropped);
  message->set_denoiser_rows(event.denoiser_rows);

  const SampleShape& shape = request.model->shape;
  if (!png) {
    SetTensor({request.num_samples, shape.channels, shape.height, shape.width}, event.samples,
              message->mutable_samples());
    return absl::OkStatus();
  }
  const auto samples = absl::MakeConstSpan(event.samples);
  for (uint32_t i = 0; i < request.num_samples; ++i) {
    absl::StatusOr<std::string> picture =
        Png(*request.model, samples.subspan(i * shape.values(), shape.values()));
    if (!picture.ok()) return picture.status();
    message->add_pngs(*std::move(picture));
  }
  return absl::OkStatus();
}

}  // namespace denoise
