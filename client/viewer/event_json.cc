#include "client/viewer/event_json.h"

#include "absl/strings/escaping.h"
#include "client/viewer/request.h"
#include "denoise/error_details.h"

namespace denoise::viewer {

using nlohmann::json;

json ToJson(const Accepted& accepted) {
  return {{"type", "accepted"},
          {"request_id", accepted.request_id},
          {"model", accepted.model},
          {"seed", accepted.seed},
          {"total_steps", accepted.total_steps},
          {"timesteps", accepted.timesteps},
          {"alpha_bars", accepted.alpha_bars},
          {"queue_position", accepted.queue_position},
          {"wait_seconds", absl::ToDoubleSeconds(accepted.estimated_wait)}};
}

json ToJson(const State& state) {
  return {{"type", "state"},
          {"sample", state.sample_index},
          {"step", state.step},
          {"timestep", state.timestep},
          {"alpha_bar", state.alpha_bar},
          {"content", state.content == Content::kPredictedX0 ? "x0" : "xt"},
          {"png", absl::Base64Escape(state.png)}};
}

json ToJson(const Result& result) {
  json pngs = json::array();
  for (const auto& png : result.pngs) pngs.push_back(absl::Base64Escape(png));
  return {{"type", "result"},
          {"pngs", pngs},
          {"queue_seconds", absl::ToDoubleSeconds(result.timing.queue)},
          {"sampling_seconds", absl::ToDoubleSeconds(result.timing.sampling)},
          {"states_dropped", result.states_dropped},
          {"rows", result.denoiser_rows}};
}

json ToJson(const Term& term) {
  return {{"type", "term"}, {"timestep", term.timestep}, {"bits_per_dim", term.bits_per_dim}};
}

json ToJson(const Likelihood& likelihood) {
  return {{"type", "likelihood"},
          {"bits_per_dim", likelihood.total_bits_per_dim},
          {"prior", likelihood.prior_bits_per_dim},
          {"standard_error", likelihood.standard_error}};
}

json ToJson(const Model& model) {
  return {{"name", model.name},
          {"version", model.version},
          {"status", Name(model.status)},
          {"sample_shape", ShownShape(model)},
          {"drawable", !model.has_decoder},
          {"num_classes", model.num_classes},
          {"num_train_timesteps", model.num_train_timesteps},
          {"alpha_bars", model.alpha_bars},
          {"default_steps", model.default_steps},
          {"default_guidance", model.default_guidance_scale},
          {"prediction_type", model.prediction_type},
          {"scheduler", model.scheduler},
          {"precision", model.precision},
          {"executor", model.executor},
          {"replicas", model.replicas},
          {"batch_sizes", model.batch_sizes}};
}

json ErrorToJson(const absl::Status& status) {
  const auto details = DetailsOf(status);
  json document = {{"type", "error"},
                   {"code", absl::StatusCodeToString(status.code())},
                   {"message", std::string(status.message())},
                   {"retry_seconds", nullptr}};
  if (details.retry_delay) {
    document["retry_seconds"] = absl::ToDoubleSeconds(*details.retry_delay);
  }
  return document;
}

std::string Dump(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace denoise::viewer
