#include "draw.h"

#include <ostream>
#include <utility>
#include <variant>

absl::StatusOr<std::vector<std::string>> Draw(denoise::Client& client, int64_t label,
                                              std::ostream& log) {
  denoise::SampleRequest request;
  request.num_samples = 2;
  request.class_labels = {label};
  request.seed = 1;
  request.sampler.kind = denoise::Sampler::Kind::kDdim;
  request.sampler.steps = 20;
  request.states.every_n_steps = 5;  // without content: progress alone
  request.encoding = denoise::Encoding::kPng;

  std::vector<std::string> pngs;
  for (auto& event : client.Sample(request)) {
    if (!event.ok()) return event.status();
    if (const auto* accepted = std::get_if<denoise::Accepted>(&*event)) {
      log << "seed " << accepted->seed << ", " << accepted->queue_position
          << " requests before this one\n";
    } else if (const auto* state = std::get_if<denoise::State>(&*event)) {
      log << "sample " << state->sample_index << ": step " << state->step << " of "
          << state->total_steps << "\n";
    } else if (auto* result = std::get_if<denoise::Result>(&*event)) {
      pngs = std::move(result->pngs);
    }
  }
  return pngs;
}

std::string Explain(const absl::Status& status) {
  std::string text = status.ToString();
  const denoise::ErrorDetails details = denoise::DetailsOf(status);
  for (const auto& violation : details.field_violations) {
    text += "\n  " + violation.field + ": " + violation.description;
  }
  if (details.retry_delay) {
    text += "\n  come back in " + absl::FormatDuration(*details.retry_delay);
  }
  return text;
}
