#include "server/rpc/messages/request_validator.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/forward_process.h"
#include "server/diffusion/likelihood.h"
#include "server/engine/policy.h"
#include "server/rpc/messages/conditions_proto.h"
#include "server/rpc/messages/guidance_proto.h"
#include "server/rpc/messages/image_proto.h"
#include "server/rpc/messages/sampler_proto.h"
#include "server/rpc/messages/tensor_proto.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

// Standard normal values; the bound leaves out what can only be a mistake, or overflows on the way.
constexpr float kMaxNoise = 1000;
// Of the models that Evaluate is for.
constexpr int64_t kLevels = 256;
// Of a message, besides its values.
constexpr uint64_t kMessageOverhead = 1024;

// Only the low 32 bits of a seed count, so no more are picked.
uint64_t PickSeed() { return std::random_device()(); }

// Whether `encoding` is PNG; a FieldError where the value is unknown or the model's samples,
// decoded where it has a decoder, are no pictures.
absl::StatusOr<bool> IsPng(int encoding, const ModelInfo& model, absl::string_view field) {
  switch (encoding) {
    case v1::ENCODING_UNSPECIFIED:
    case v1::ENCODING_RAW:
      return false;
    case v1::ENCODING_PNG: {
      const int64_t channels = model.format(model.decoder.has_value()).shape.channels;
      if (channels == 1 || channels == 3) return true;
      return FieldError(field,
                        absl::StrCat("ENCODING_PNG is for 1 or 3 channels, and ",
                                     model.decoder.has_value() ? "decoded " : "", "samples of ",
                                     Quote(model.name), " have ", channels, "; use ENCODING_RAW"));
    }
    default:
      return FieldError(field, absl::StrCat(encoding,
                                            " is not known here; known are ENCODING_RAW "
                                            "(1) and ENCODING_PNG (2)"));
  }
}

// Whether what is `asked` for to be decoded, or is to be a picture, is decoded; a FieldError where
// that is impossible.
absl::StatusOr<bool> IsDecoded(bool asked, bool png, const ModelInfo& model,
                               absl::string_view field) {
  if (model.decoder.has_value()) return asked || png;
  if (!asked) return false;
  return FieldError(field, absl::StrCat("true, and ", Quote(model.name),
                                        " has no decoder: its samples are what it was trained on; "
                                        "leave it out"));
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
  validated->encodings.png_states = *png;
  StateSelection& selection = validated->request.states;
  const absl::StatusOr<bool> decode = IsDecoded(states.decode(), *png, model, "states.decode");
  if (!decode.ok()) return decode.status();
  selection.decode = *decode;
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
  constexpr char kNoContent[] = " given, but the states have no content; set states.content";
  if (*png && !selection.any()) {
    return FieldError("states.encoding", absl::StrCat("ENCODING_PNG", kNoSteps));
  }
  if (*png && states.content_size() == 0) {
    return FieldError("states.encoding", absl::StrCat("ENCODING_PNG", kNoContent));
  }
  if (states.decode() && !selection.any()) {
    return FieldError("states.decode", absl::StrCat("true", kNoSteps));
  }
  if (states.decode() && states.content_size() == 0) {
    return FieldError("states.decode", absl::StrCat("true", kNoContent));
  }
  return SetContent(states, &selection);
}

// The tensors that a chain begins from or keeps.
absl::Status CheckStart(const v1::SampleRequest& message, const ModelInfo& model,
                        uint32_t num_samples) {
  if (message.has_initial_noise()) {
    SamplesSpec spec;
    spec.shape = model.shape;
    spec.num_samples = num_samples;
    spec.min = -kMaxNoise;
    spec.max = kMaxNoise;
    const auto checked = CheckSamples(message.initial_noise(), spec, "initial_noise");
    if (!checked.ok()) return checked.status();
  }
  if (message.has_image_to_image()) {
    absl::Status status = CheckImageToImage(message.image_to_image(), model, num_samples);
    if (!status.ok()) return status;
  }
  if (message.has_inpainting()) return CheckInpainting(message.inpainting(), model, num_samples);
  return absl::OkStatus();
}

void SetStart(const v1::SampleRequest& message, Request* request) {
  if (message.has_initial_noise()) request->start = FloatsOf(message.initial_noise());
  if (message.has_image_to_image()) request->image = FloatsOf(message.image_to_image().image());
  if (message.has_inpainting()) {
    request->known = FloatsOf(message.inpainting().image());
    request->mask = MaskOf(message.inpainting().mask(), request->model->shape);
  }
}

// Class labels and conditions, of a message whose conditions were checked.
template <typename Message>
absl::Status SetInputs(const Message& message, Request* request) {
  const ModelInfo& model = *request->model;
  absl::StatusOr<std::vector<int64_t>> labels =
      LabelsOf(message.class_labels(), model, request->num_samples);
  if (!labels.ok()) return labels.status();
  request->labels = *std::move(labels);
  Conditions conditions = MakeConditions(message.conditions(), model);
  if (!conditions.empty()) {
    request->conditions = std::make_shared<const Conditions>(std::move(conditions));
  }
  return absl::OkStatus();
}

// Evaluate's last term is the likelihood of one of 256 levels, each 2/255 wide, over -1..1.
absl::Status CheckLevels(const ModelInfo& model) {
  if (model.levels != kLevels) {
    const std::string says =
        model.levels == 0 ? "does not say" : absl::StrCat("says ", model.levels);
    return FieldError("model",
                      absl::StrCat("the bound is that of samples with ", kLevels,
                                   " levels, and model.json of ", Quote(model.name), " ", says,
                                   "; where its samples are 8-bit pictures, put "
                                   "\"levels\": 256 there"));
  }
  if (model.value_min != -1 || model.value_max != 1) {
    return FieldError("model", absl::StrCat("the bound is that of samples in -1..1, and those of ",
                                            Quote(model.name), " are in ", model.value_min, "..",
                                            model.value_max, "; evaluate a model of that range"));
  }
  return absl::OkStatus();
}

absl::Status CheckNumSamples(uint32_t num_samples, uint32_t max) {
  if (num_samples <= max) return absl::OkStatus();
  return FieldError("num_samples",
                    absl::StrCat(num_samples, " is not in 1..", max, "; send several requests"));
}

absl::Status CheckPriority(int32_t priority) {
  if (priority >= -kMaxPriority && priority <= kMaxPriority) return absl::OkStatus();
  return FieldError("priority", absl::StrCat(priority, " is not in ", -kMaxPriority, "..",
                                             kMaxPriority, "; 0 is the usual one"));
}

}  // namespace

absl::Status RequestValidator::CheckAnswerSize(const ModelInfo& model, uint64_t samples, bool png,
                                               bool decoded, absl::string_view field) const {
  // A PNG is at most its pixels, a byte a row, and headers; deflate adds less than a thousandth.
  const SampleShape shape = model.format(decoded).shape;
  const auto values = static_cast<uint64_t>(shape.values());
  const uint64_t bytes_per_sample =
      png ? values + values / 1000 + shape.height + kMessageOverhead : values * sizeof(float);
  const uint64_t bytes = samples * bytes_per_sample + kMessageOverhead;
  if (bytes <= limits_.max_message_bytes) return absl::OkStatus();
  return FieldError(
      field, absl::StrCat(samples, " samples of ", Quote(model.name), " would be an answer of ",
                          bytes, " bytes, more than the ", limits_.max_message_bytes,
                          " of a message; ask for fewer, or for ENCODING_PNG"));
}

absl::StatusOr<uint32_t> RequestValidator::CheckX0(bool given, const v1::Tensor& x_0,
                                                   const ModelInfo& model) const {
  if (!given) return FieldError("x_0", "missing; give clean samples, [n, C, H, W] FLOAT32");
  SamplesSpec spec = CleanSamples(model);
  spec.max_samples = limits_.max_samples;
  return CheckSamples(x_0, spec, "x_0");
}

absl::StatusOr<Validated> RequestValidator::Validate(
    const v1::SampleRequest& message, const std::shared_ptr<const ModelInfo>& model) const {
  Validated validated;
  Request& request = validated.request;
  request.model = model;

  request.num_samples = message.num_samples() == 0 ? 1 : message.num_samples();
  absl::Status status = CheckNumSamples(request.num_samples, limits_.max_samples);
  if (!status.ok()) return status;
  status = CheckPriority(message.priority());
  if (!status.ok()) return status;
  request.priority = message.priority();
  const absl::StatusOr<bool> png = IsPng(message.encoding(), *model, "encoding");
  if (!png.ok()) return png.status();
  validated.encodings.png_samples = *png;
  const absl::StatusOr<bool> decode = IsDecoded(message.decode(), *png, *model, "decode");
  if (!decode.ok()) return decode.status();
  request.decode = *decode;
  status = CheckAnswerSize(*model, request.num_samples, *png, *decode, "num_samples");
  if (!status.ok()) return status;

  status = CheckStart(message, *model, request.num_samples);
  if (!status.ok()) return status;
  status =
      CheckConditions(message.conditions(), *model, request.num_samples, limits_.max_message_bytes);
  if (!status.ok()) return status;
  status = CheckNegativeConditions(message.negative_conditions(), message.conditions(), *model,
                                   request.num_samples, limits_.max_message_bytes);
  if (!status.ok()) return status;

  const absl::StatusOr<SamplerOptions> options = OptionsOf(message, *model);
  if (!options.ok()) return options.status();
  absl::StatusOr<std::shared_ptr<const Table>> table = tables_->Get(*model, *options);
  if (!table.ok()) return table.status();
  request.table = *std::move(table);
  if (model->integer_time && request.table->fractional_times) {
    return FieldError(message.sampler().timesteps().empty() ? "sampler" : "sampler.timesteps",
                      absl::StrCat("some of its times are no integers, which ", Quote(model->name),
                                   " cannot take; choose others, or another sampler"));
  }
  status = SetStates(message.states(), *model, request.table->total_steps, &validated);
  if (!status.ok()) return status;
  status = CheckAnswerSize(*model, 1, validated.encodings.png_states, request.states.decode,
                           "states.encoding");
  if (!status.ok()) return status;

  status = SetInputs(message, &request);
  if (!status.ok()) return status;
  status = SetGuidance(message, &request);
  if (!status.ok()) return status;
  SetStart(message, &request);
  request.seed = message.has_seed() ? message.seed() : PickSeed();
  return validated;
}

absl::StatusOr<Validated> RequestValidator::Validate(
    const v1::DiffuseRequest& message, const std::shared_ptr<const ModelInfo>& model) const {
  Validated validated;
  Request& request = validated.request;
  request.model = model;

  const absl::StatusOr<uint32_t> num_samples = CheckX0(message.has_x_0(), message.x_0(), *model);
  if (!num_samples.ok()) return num_samples.status();
  request.num_samples = *num_samples;

  const absl::StatusOr<bool> png = IsPng(message.encoding(), *model, "encoding");
  if (!png.ok()) return png.status();
  validated.encodings.png_states = *png;
  request.states.decode = *png && model->decoder.has_value();
  absl::Status status = CheckAnswerSize(*model, 1, *png, request.states.decode, "encoding");
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

absl::StatusOr<Validated> RequestValidator::Validate(
    const v1::EvaluateRequest& message, const std::shared_ptr<const ModelInfo>& model) const {
  Validated validated;
  Request& request = validated.request;
  request.model = model;
  request.seed = message.has_seed() ? message.seed() : PickSeed();

  // First, because for some models nothing else matters.
  LikelihoodOptions options;
  options.num_timesteps = message.num_timesteps();
  if (message.has_clip_sample()) options.clip_sample = message.clip_sample();
  options.seed = request.seed;
  absl::StatusOr<Table> table =
      MakeLikelihoodTable(model->config, model->schedule, model->learned_variance, options);
  if (!table.ok()) return table.status();
  absl::Status status = CheckLevels(*model);
  if (!status.ok()) return status;
  status = CheckPriority(message.priority());
  if (!status.ok()) return status;
  request.priority = message.priority();

  const absl::StatusOr<uint32_t> num_samples = CheckX0(message.has_x_0(), message.x_0(), *model);
  if (!num_samples.ok()) return num_samples.status();
  request.num_samples = *num_samples;
  const uint64_t bytes = uint64_t{3} * sizeof(double) * *num_samples + kMessageOverhead;
  if (bytes > limits_.max_message_bytes) {
    return FieldError("x_0.shape", absl::StrCat(*num_samples, " samples would be terms of ", bytes,
                                                " bytes, more than the ", limits_.max_message_bytes,
                                                " of a message; send fewer"));
  }
  status =
      CheckConditions(message.conditions(), *model, request.num_samples, limits_.max_message_bytes);
  if (!status.ok()) return status;

  status = SetInputs(message, &request);
  if (!status.ok()) return status;
  request.table = std::make_shared<const Table>(*std::move(table));
  request.start = FloatsOf(message.x_0());
  request.evaluation =
      std::make_shared<Evaluation>(request.table, request.num_samples, model->shape.values());
  return validated;
}

}  // namespace denoise
