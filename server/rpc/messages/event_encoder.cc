#include "server/rpc/messages/event_encoder.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/media/png.h"
#include "server/rpc/messages/duration.h"
#include "server/rpc/messages/tensor_proto.h"

namespace denoise {
namespace {

absl::StatusOr<std::string> Png(const SampleFormat& format, absl::Span<const float> values) {
  const SampleShape& shape = format.shape;
  return EncodePng(values, shape.channels, shape.height, shape.width, format.value_min,
                   format.value_max);
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

// What all calls have in common.
v1::Accepted* EncodeCommon(const Request& request, v1::Accepted* message) {
  message->set_request_id(request.id);
  message->set_model(request.model->name);
  message->set_model_version(request.model->version);
  message->set_seed(request.seed);
  message->set_total_steps(request.table->total_steps);
  message->set_numerics_id(request.model->numerics_id);
  return message;
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
  const SampleFormat format = request.state_format();
  if (!png) {
    const SampleShape& shape = format.shape;
    SetTensor({1, shape.channels, shape.height, shape.width}, event.values,
              message->mutable_tensor());
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> picture = Png(format, event.values);
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

  const SampleFormat format = request.result_format();
  const SampleShape& shape = format.shape;
  if (!png) {
    SetTensor({request.num_samples, shape.channels, shape.height, shape.width}, event.samples,
              message->mutable_samples());
    return absl::OkStatus();
  }
  const auto samples = absl::MakeConstSpan(event.samples);
  for (uint32_t i = 0; i < request.num_samples; ++i) {
    absl::StatusOr<std::string> picture =
        Png(format, samples.subspan(i * shape.values(), shape.values()));
    if (!picture.ok()) return picture.status();
    message->add_pngs(*std::move(picture));
  }
  return absl::OkStatus();
}

void EncodeTerm(const TermEvent& event, v1::Term* message) {
  message->set_timestep(event.timestep);
  message->mutable_bits_per_dim()->Assign(event.bits_per_dim.begin(), event.bits_per_dim.end());
  message->mutable_eps_mse()->Assign(event.eps_mse.begin(), event.eps_mse.end());
  message->mutable_x_0_mse()->Assign(event.x_0_mse.begin(), event.x_0_mse.end());
}

void EncodeLikelihood(const LikelihoodEvent& event, v1::Likelihood* message) {
  message->mutable_total_bits_per_dim()->Assign(event.total_bits_per_dim.begin(),
                                                event.total_bits_per_dim.end());
  message->mutable_prior_bits_per_dim()->Assign(event.prior_bits_per_dim.begin(),
                                                event.prior_bits_per_dim.end());
  message->mutable_standard_error()->Assign(event.standard_error.begin(),
                                            event.standard_error.end());
}

}  // namespace

void EncodeAccepted(const Request& request, v1::SampleEvent* message) {
  v1::Accepted* accepted = EncodeCommon(request, message->mutable_accepted());
  accepted->add_alpha_bars(static_cast<float>(request.table->initial_alpha_bar));
  uint32_t step_begun = 0;
  for (const Row& row : request.table->rows) {
    if (row.denoise && row.step != step_begun) {
      step_begun = row.step;
      accepted->add_timesteps(static_cast<float>(row.timestep));
    }
    if (row.completes_step) accepted->add_alpha_bars(static_cast<float>(row.state_alpha_bar));
  }
}

void EncodeAccepted(const Request& request, v1::DiffuseEvent* message) {
  v1::Accepted* accepted = EncodeCommon(request, message->mutable_accepted());
  for (const Row& row : request.table->rows) {
    if (!row.completes_step) continue;
    accepted->add_timesteps(static_cast<float>(row.state_timestep));
    accepted->add_alpha_bars(static_cast<float>(row.state_alpha_bar));
  }
}

void EncodeAccepted(const Request& request, v1::EvaluateEvent* message) {
  v1::Accepted* accepted = EncodeCommon(request, message->mutable_accepted());
  for (const Row& row : request.table->rows) {
    const auto t = static_cast<int64_t>(row.timestep);
    accepted->add_timesteps(static_cast<float>(t));
    accepted->add_alpha_bars(static_cast<float>(request.model->schedule.alpha_bar(t)));
  }
}

absl::Status EncodeEvent(const Request& request, const Encodings& encodings,
                         const StreamEvent& event, v1::SampleEvent* message) {
  if (const auto* state = std::get_if<StateEvent>(&event)) {
    return EncodeState(request, encodings.png_states, *state, message->mutable_state());
  }
  if (const auto* result = std::get_if<ResultEvent>(&event)) {
    return EncodeResult(request, encodings.png_samples, *result, message->mutable_result());
  }
  return absl::OkStatus();
}

absl::Status EncodeEvent(const Request& request, const Encodings& encodings,
                         const StreamEvent& event, v1::DiffuseEvent* message) {
  if (const auto* state = std::get_if<StateEvent>(&event)) {
    return EncodeState(request, encodings.png_states, *state, message->mutable_state());
  }
  return absl::OkStatus();
}

absl::Status EncodeEvent(const Request& request, const Encodings&, const StreamEvent& event,
                         v1::EvaluateEvent* message) {
  if (const auto* term = std::get_if<TermEvent>(&event)) {
    EncodeTerm(*term, message->mutable_term());
  } else if (std::holds_alternative<ResultEvent>(event)) {
    EncodeLikelihood(request.evaluation->Total(), message->mutable_likelihood());
  }
  return absl::OkStatus();
}

}  // namespace denoise
