#include "server/rpc/request_validator.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/forward_process.h"
#include "server/rpc/sampler_proto.h"
#include "server/rpc/tensor_proto.h"
#include "server/rpc/text.h"

namespace denoise {
namespace {

// Past it float32 has no digits left for the difference that is scaled.
constexpr float kMaxGuidance = 1000;
// Standard normal values; the bound leaves out what can only be a mistake, or overflows on the way.
constexpr float kMaxNoise = 1000;
// How far clean samples may lie outside the model's range, as a part of it: samplers that do not
// clip end outside, with guidance by a tenth and more, and what was sampled here must be good
// enough. What is left are mistakes, such as pixels of 0..255.
constexpr float kRangeTolerance = 0.25f;
// Of a message, besides its values.
constexpr uint64_t kMessageOverhead = 1024;

// Only the low 32 bits of a seed count, so no more are picked.
uint64_t PickSeed() { return std::random_device()(); }

// Whether `encoding` is PNG; a FieldError where the value is unknown or the model's samples are no
// pictures.
absl::StatusOr<bool> IsPng(int encoding, const ModelInfo& model, absl::string_view field) {
  switch (encoding) {
    case v1::ENCODING_UNSPECIFIED:
    case v1::ENCODING_RAW:
      return false;
    case v1::ENCODING_PNG:
      if (model.shape.channels == 1 || model.shape.channels == 3) return true;
      return FieldError(field, absl::StrCat("ENCODING_PNG is for 1 or 3 channels, and samples of ",
                                            Quote(model.name), " have ", model.shape.channels,
                                            "; use ENCODING_RAW"));
    default:
      return FieldError(field, absl::StrCat(encoding,
                                            " is not known here; known are ENCODING_RAW "
                                            "(1) and ENCODING_PNG (2)"));
  }
}

absl::Status CheckLabel(int64_t label, const ModelInfo& model, absl::string_view field) {
  if ((label >= 0 && label < model.num_classes) || label == model.null_class) {
    return absl::OkStatus();
  }
  const std::string null_class =
      model.null_class.has_value() ? absl::StrCat(", nor the null class ", *model.null_class) : "";
  return FieldError(field,
                    absl::StrCat(label, " is not in 0..", model.num_classes - 1, null_class));
}

absl::StatusOr<std::vector<int64_t>> LabelsOf(const v1::SampleRequest& message,
                                              const ModelInfo& model, uint32_t num_samples) {
  const absl::Span<const int64_t> given(message.class_labels().data(),
                                        message.class_labels().size());
  if (model.num_classes == 0) {
    if (given.empty()) return std::vector<int64_t>();
    return FieldError("class_labels", absl::StrCat(given.size(), " given, but ", Quote(model.name),
                                                   " has no classes; leave them out"));
  }
  if (given.empty()) {
    if (model.null_class.has_value()) return std::vector<int64_t>(num_samples, *model.null_class);
    return FieldError("class_labels",
                      absl::StrCat("none given, and ", Quote(model.name),
                                   " has no null class; give one label, or one a sample, each 0..",
                                   model.num_classes - 1));
  }
  if (given.size() != 1 && given.size() != num_samples) {
    return FieldError("class_labels", absl::StrCat(given.size(), " labels for ", num_samples,
                                                   " samples; give none, one, or one a sample"));
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (absl::Status status = CheckLabel(given[i], model, absl::StrCat("class_labels[", i, "]"));
        !status.ok()) {
      return status;
    }
  }
  if (given.size() == 1) return std::vector<int64_t>(num_samples, given[0]);
  return std::vector<int64_t>(given.begin(), given.end());
}

absl::Status SetGuidance(const v1::SampleRequest& message, const ModelInfo& model,
                         Request* request) {
  float scale = 1;
  if (message.has_guidance_scale()) {
    scale = message.guidance_scale();
    // Written so that NaN fails.
    if (!(std::abs(scale) <= kMaxGuidance)) {
      return FieldError("guidance_scale",
                        absl::StrCat(scale, " is not in -", kMaxGuidance, "..", kMaxGuidance));
    }
  } else if (!message.class_labels().empty() && model.null_class.has_value()) {
    scale = model.default_guidance_scale;
  }
  if (scale == 0 || scale == 1) return absl::OkStatus();
  if (model.num_classes == 0 || !model.null_class.has_value()) {
    return FieldError("guidance_scale",
                      absl::StrCat(scale, " needs a model with classes and a null class, and ",
                                   Quote(model.name), " has none; leave it out, or give 1"));
  }
  request->negative_labels.assign(request->num_samples, *model.null_class);
  request->guidance = scale;
  // Between the null class and itself there is nothing to scale: the same answer at half the cost.
  request->guided = std::any_of(request->labels.begin(), request->labels.end(),
                                [&](int64_t label) { return label != *model.null_class; });
  return absl::OkStatus();
}

absl::Status SetContent(const v1::StateStreaming& states, StateSelection* selection) {
  for (int i = 0; i < states.content_size(); ++i) {
    const std::string field = absl::StrCat("states.content[", i, "]");
    Content content;
    switch (states.content(i)) {
      case v1::CONTENT_X_T:
        content = Content::kXt;
        break;
      case v1::CONTENT_PREDICTED_X_0:
        content = Content::kPredictedX0;
        break;
      default:
        return FieldError(field, absl::StrCat(static_cast<int>(states.content(i)),
                                              " is not known here; known are CONTENT_X_T (1) and "
                                              "CONTENT_PREDICTED_X_0 (2)"));
    }
    // At most one of each, so that the list cannot be long.
    if (std::count(selection->content.begin(), selection->content.end(), content) > 0) {
      return FieldError(field, absl::StrCat(static_cast<int>(states.content(i)),
                                            " is there twice; name each content once"));
    }
    selection->content.push_back(content);
  }
  if (selection->content.empty()) selection->content.push_back(Content::kProgress);
  return absl::OkStatus();
}

absl::Status SetStates(const v1::StateStreaming& states, const ModelInfo& model,
                       uint32_t total_steps, Validated* validated) {
  const absl::StatusOr<bool> png = IsPng(states.encoding(), model, "states.encoding");
  if (!png.ok()) return png.status();
  validated->png_states = *png;
  StateSelection& selection = validated->request.states;
  selection.every_n_steps = states.every_n_steps();

  if (static_cast<uint64_t>(states.steps_size()) > uint64_t{total_steps} + 1) {
    return FieldError("states.steps", absl::StrCat(states.steps_size(), " steps are more than the ",
                                                   uint64_t{total_steps} + 1,
                                                   " states of a chain; name each once"));
  }
  for (int i = 0; i < states.steps_size(); ++i) {
    if (states.steps(i) > total_steps) {
      return FieldError(absl::StrCat("states.steps[", i, "]"),
                        absl::StrCat(states.steps(i), " is not in 0..", total_steps));
    }
  }
  selection.steps.assign(states.steps().begin(), states.steps().end());
  std::sort(selection.steps.begin(), selection.steps.end());
  selection.steps.erase(std::unique(selection.steps.begin(), selection.steps.end()),
                        selection.steps.end());

  constexpr char kNoSteps[] =
      " given, but no steps are selected; set states.every_n_steps or states.steps";
  if (!selection.any() && states.content_size() > 0) {
    return FieldError("states.content", absl::StrCat(states.content_size(), kNoSteps));
  }
  if (*png && !selection.any()) {
    return FieldError("states.encoding", absl::StrCat("ENCODING_PNG", kNoSteps));
  }
  if (*png && states.content_size() == 0) {
    return FieldError("states.encoding",
                      "ENCODING_PNG given, but the states have no content; set states.content");
  }
  return SetContent(states, &selection);
}

absl::Status CheckNumSamples(uint32_t num_samples, uint32_t max) {
  if (num_samples <= max) return absl::OkStatus();
  return FieldError("num_samples",
                    absl::StrCat(num_samples, " is not in 1..", max, "; send several requests"));
}

}  // namespace

absl::Status RequestValidator::CheckAnswerSize(const ModelInfo& model, uint64_t samples, bool png,
                                               absl::string_view field) const {
  // A PNG is at most its pixels, a byte a row, and headers; deflate adds less than a thousandth.
  const auto values = static_cast<uint64_t>(model.shape.values());
  const uint64_t bytes_per_sample =
      png ? values + values / 1000 + model.shape.height + kMessageOverhead : values * sizeof(float);
  const uint64_t bytes = samples * bytes_per_sample + kMessageOverhead;
  if (bytes <= limits_.max_message_bytes) return absl::OkStatus();
  return FieldError(
      field, absl::StrCat(samples, " samples of ", Quote(model.name), " would be an answer of ",
                          bytes, " bytes, more than the ", limits_.max_message_bytes,
                          " of a message; ask for fewer, or for ENCODING_PNG"));
}

absl::StatusOr<Validated> RequestValidator::Validate(
    const v1::SampleRequest& message, const std::shared_ptr<const ModelInfo>& model) const {
  Validated validated;
  Request& request = validated.request;
  request.model = model;

  request.num_samples = message.num_samples() == 0 ? 1 : message.num_samples();
  absl::Status status = CheckNumSamples(request.num_samples, limits_.max_samples);
  if (!status.ok()) return status;
  const absl::StatusOr<bool> png = IsPng(message.encoding(), *model, "encoding");
  if (!png.ok()) return png.status();
  validated.png_samples = *png;
  status = CheckAnswerSize(*model, request.num_samples, *png, "num_samples");
  if (!status.ok()) return status;

  if (message.has_initial_noise()) {
    const SamplesSpec spec{model->shape, request.num_samples, limits_.max_samples, -kMaxNoise,
                           kMaxNoise};
    const auto checked = CheckSamples(message.initial_noise(), spec, "initial_noise");
    if (!checked.ok()) return checked.status();
  }

  absl::StatusOr<std::vector<int64_t>> labels = LabelsOf(message, *model, request.num_samples);
  if (!labels.ok()) return labels.status();
  request.labels = *std::move(labels);
  status = SetGuidance(message, *model, &request);
  if (!status.ok()) return status;

  const absl::StatusOr<SamplerOptions> options = OptionsOf(message.sampler(), *model);
  if (!options.ok()) return options.status();
  absl::StatusOr<std::shared_ptr<const Table>> table = tables_->Get(model, *options);
  if (!table.ok()) return table.status();
  request.table = *std::move(table);
  if (model->integer_time && request.table->fractional_times) {
    return FieldError("sampler",
                      absl::StrCat("it has times that are no integers, which ", Quote(model->name),
                                   " cannot take; choose another one"));
  }
  status = SetStates(message.states(), *model, request.table->total_steps, &validated);
  if (!status.ok()) return status;
  status = CheckAnswerSize(*model, 1, validated.png_states, "states.encoding");
  if (!status.ok()) return status;

  request.seed = message.has_seed() ? message.seed() : PickSeed();
  if (message.has_initial_noise()) request.start = FloatsOf(message.initial_noise());
  return validated;
}

absl::StatusOr<Validated> RequestValidator::Validate(
    const v1::DiffuseRequest& message, const std::shared_ptr<const ModelInfo>& model) const {
  Validated validated;
  Request& request = validated.request;
  request.model = model;

  if (!message.has_x_0()) {
    return FieldError("x_0", "missing; give the samples to diffuse, [n, C, H, W] FLOAT32");
  }
  const float tolerance = kRangeTolerance * (model->value_max - model->value_min);
  const SamplesSpec spec{model->shape, std::nullopt, limits_.max_samples,
                         model->value_min - tolerance, model->value_max + tolerance};
  const absl::StatusOr<uint32_t> num_samples = CheckSamples(message.x_0(), spec, "x_0");
  if (!num_samples.ok()) return num_samples.status();
  request.num_samples = *num_samples;

  const absl::StatusOr<bool> png = IsPng(message.encoding(), *model, "encoding");
  if (!png.ok()) return png.status();
  validated.png_states = *png;
  absl::Status status = CheckAnswerSize(*model, 1, *png, "encoding");
  if (!status.ok()) return status;

  if (message.timesteps_size() > model->schedule.size()) {
    return FieldError("timesteps",
                      absl::StrCat(message.timesteps_size(), " timesteps are more than the ",
                                   model->schedule.size(), " there are; name each once"));
  }
  const std::vector<int64_t> timesteps(message.timesteps().begin(), message.timesteps().end());
  absl::StatusOr<Table> table = message.chain() ? MakeForwardChain(model->schedule, timesteps)
                                                : MakeForwardJumps(model->schedule, timesteps);
  if (!table.ok()) return table.status();
  request.table = std::make_shared<const Table>(*std::move(table));
  request.states.every_n_steps = 1;
  request.states.content = {Content::kXt};
  request.seed = message.has_seed() ? message.seed() : PickSeed();
  request.start = FloatsOf(message.x_0());
  return validated;
}

}  // namespace denoise
