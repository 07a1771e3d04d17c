#include "client/viewer/request.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise::viewer {
namespace {

using nlohmann::json;

// Lists and objects without what is in them, which may be nested deeper than the stack.
std::string Describe(const json& value) {
  if (value.is_array()) return absl::StrCat("a list of ", value.size());
  if (value.is_object()) return "an object";
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

// Reads the fields of a document. The first that is wrong is kept, and later ones read as absent.
class Fields {
 public:
  explicit Fields(const json& document) : document_(document) {}

  std::optional<int64_t> Whole(const char* name, int64_t min, int64_t max) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    // Not get<int64_t>() alone, which would wrap a large unsigned one round.
    const bool fits = value->is_number_unsigned()
                          ? value->get<uint64_t>() <= static_cast<uint64_t>(max)
                          : value->is_number_integer();
    if (!fits || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      Fail(name, *value, absl::StrCat("is no whole number from ", min, " to ", max));
      return std::nullopt;
    }
    return value->get<int64_t>();
  }

  std::optional<float> Number(const char* name, float min, float max) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
      Fail(name, *value, absl::StrCat("is no number from ", min, " to ", max));
      return std::nullopt;
    }
    return value->get<float>();
  }

  std::optional<std::string> Text(const char* name) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) {
      Fail(name, *value, "is no text");
      return std::nullopt;
    }
    return value->get<std::string>();
  }

  // [size] bytes, as low..high.
  std::optional<std::vector<float>> Bytes(const char* name, int64_t size, float low, float high) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    const auto is_byte = [](const json& v) {
      return v.is_number_unsigned() && v.get<uint64_t>() <= 255;
    };
    if (!value->is_array() || static_cast<int64_t>(value->size()) != size ||
        !std::all_of(value->begin(), value->end(), is_byte)) {
      Fail(name, *value, absl::StrCat("is not ", size, " whole numbers from 0 to 255"));
      return std::nullopt;
    }
    std::vector<float> values;
    values.reserve(value->size());
    for (const json& v : *value) values.push_back(low + (high - low) * v.get<float>() / 255);
    return values;
  }

  // Strictly ascending, each 0..max; at most kMaxShownSteps.
  std::vector<uint32_t> Timesteps(const char* name, uint32_t max) {
    const json* value = Find(name);
    std::vector<uint32_t> timesteps;
    bool good =
        value != nullptr && value->is_array() && !value->empty() && value->size() <= kMaxShownSteps;
    for (size_t i = 0; good && i < value->size(); ++i) {
      const json& v = (*value)[i];
      good = v.is_number_unsigned() && v.get<uint64_t>() <= max &&
             (i == 0 || v.get<uint64_t>() > timesteps.back());
      if (good) timesteps.push_back(v.get<uint32_t>());
    }
    if (!good) {
      Fail(
          name, value == nullptr ? json() : *value,
          absl::StrCat("is not 1 to ", kMaxShownSteps, " ascending whole numbers from 0 to ", max));
    }
    return timesteps;
  }

  void Fail(const std::string& name, const json& value, const std::string& fix) {
    if (!status_.ok()) return;
    const std::string text = Describe(value);
    status_ = absl::InvalidArgumentError(
        absl::StrCat(name, ": ", text.substr(0, 60), text.size() > 60 ? "…" : "", " ", fix));
  }

  // A field that is none of these was misspelt, and would else be passed over in silence.
  void Allow(const std::set<std::string>& names) {
    for (const auto& [name, value] : document_.items()) {
      if (names.count(name) == 0) Fail(name.substr(0, 60), value, "is not a field of this request");
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  const json* Find(const char* name) const {
    const auto found = document_.find(name);
    if (found == document_.end() || found->is_null() || !status_.ok()) return nullptr;
    return &*found;
  }

  const json& document_;
  absl::Status status_;
};

constexpr int64_t kMaxSeed = std::numeric_limits<uint32_t>::max();

std::vector<int64_t> ClassOf(Fields& fields, const Model& model) {
  const int64_t last = model.null_class.value_or(model.num_classes - 1);
  const auto label = fields.Whole("class", 0, std::max(last, model.num_classes - 1));
  return label ? std::vector<int64_t>{*label} : std::vector<int64_t>{};
}

std::optional<uint64_t> SeedOf(Fields& fields) {
  const auto seed = fields.Whole("seed", 0, kMaxSeed);
  return seed ? std::optional<uint64_t>(*seed) : std::nullopt;
}

std::optional<Tensor> ImageOf(Fields& fields, const Model& model) {
  const int64_t c = model.sample_shape[0], h = model.sample_shape[1], w = model.sample_shape[2];
  auto values = fields.Bytes("image", c * h * w, model.value_min, model.value_max);
  if (!values) return std::nullopt;
  return Tensor{{1, c, h, w}, *std::move(values)};
}

SampleRequest ParseSample(Fields& fields, const Model& model) {
  fields.Allow({"kind", "model", "n", "seed", "sampler", "steps", "eta", "class", "guidance",
                "image", "strength", "mask"});
  SampleRequest request;
  request.model = model.name;
  request.num_samples = static_cast<uint32_t>(fields.Whole("n", 1, kMaxSamples).value_or(1));
  request.seed = SeedOf(fields);
  if (const auto name = fields.Text("sampler"); name && !name->empty()) {
    const auto& samplers = NamedSamplers();
    const auto found = std::find_if(samplers.begin(), samplers.end(),
                                    [&](const auto& known) { return known.first == *name; });
    if (found == samplers.end()) {
      std::string names;
      for (const auto& [known, kind] : samplers) absl::StrAppend(&names, " ", known);
      fields.Fail("sampler", *name, absl::StrCat("is none of", names));
    } else {
      request.sampler.kind = found->second;
    }
  }
  request.sampler.steps = static_cast<uint32_t>(
      fields.Whole("steps", 1, std::max<int64_t>(1, model.num_train_timesteps)).value_or(0));
  request.sampler.eta = fields.Number("eta", 0, 1).value_or(0);
  request.class_labels = ClassOf(fields, model);
  request.guidance_scale = fields.Number("guidance", 0, 100);
  const auto image = ImageOf(fields, model);
  const auto strength = fields.Number("strength", 0, 1);
  const int64_t h = model.sample_shape[1], w = model.sample_shape[2];
  auto mask = fields.Bytes("mask", h * w, 0, 1);
  if (mask && !image) fields.Fail("mask", "", "needs an image that it keeps");
  if (mask && strength) fields.Fail("strength", *strength, "goes with an image without a mask");
  if (image && mask) {
    request.inpainting = {.image = *image, .mask = {{1, 1, h, w}, *std::move(mask)}};
  } else if (image) {
    request.image_to_image = ImageToImage{*image, strength.value_or(0.8f)};
  }
  const uint32_t steps = request.sampler.steps > 0 ? request.sampler.steps : model.default_steps;
  request.states.every_n_steps = (steps + kMaxShownSteps - 1) / kMaxShownSteps;
  if (request.states.every_n_steps == 0) request.states.every_n_steps = 1;
  request.states.content = {Content::kXt, Content::kPredictedX0};
  request.states.encoding = Encoding::kPng;
  request.encoding = Encoding::kPng;
  return request;
}

DiffuseRequest ParseDiffuse(Fields& fields, const Model& model) {
  fields.Allow({"kind", "model", "image", "seed", "timesteps"});
  DiffuseRequest request;
  request.model = model.name;
  if (auto image = ImageOf(fields, model)) {
    request.x_0 = *std::move(image);
  } else {
    fields.Fail("image", json(), "is missing");
  }
  request.seed = SeedOf(fields);
  request.timesteps = fields.Timesteps("timesteps", std::max(1u, model.num_train_timesteps) - 1);
  request.chain = true;
  request.encoding = Encoding::kPng;
  return request;
}

EvaluateRequest ParseEvaluate(Fields& fields, const Model& model) {
  fields.Allow({"kind", "model", "image", "seed", "class", "terms"});
  EvaluateRequest request;
  request.model = model.name;
  if (auto image = ImageOf(fields, model)) {
    request.x_0 = *std::move(image);
  } else {
    fields.Fail("image", json(), "is missing");
  }
  request.seed = SeedOf(fields);
  request.class_labels = ClassOf(fields, model);
  request.num_timesteps =
      static_cast<uint32_t>(fields.Whole("terms", 2, model.num_train_timesteps).value_or(0));
  return request;
}

}  // namespace

const std::vector<int64_t>& ShownShape(const Model& model) {
  return model.has_decoder ? model.decoded_shape : model.sample_shape;
}

absl::StatusOr<json> ParseBody(const std::string& body) {
  json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return absl::InvalidArgumentError("the request is no JSON object");
  return document;
}

absl::StatusOr<std::string> ModelOf(const json& document) {
  Fields fields(document);
  auto name = fields.Text("model");
  if (!fields.status().ok()) return fields.status();
  return name.value_or("");
}

absl::StatusOr<RunRequest> ParseRun(const json& document, const Model& model) {
  Fields fields(document);
  const std::string kind = fields.Text("kind").value_or("");
  const std::vector<int64_t>& shape = ShownShape(model);
  if (shape.size() != 3 || (shape[0] != 1 && shape[0] != 3)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model: samples of '", model.name, "' are no pictures, which have 1 or 3 channels"));
  }
  const auto image = document.find("image");
  const bool drawn =
      kind == "diffuse" || kind == "evaluate" || (image != document.end() && !image->is_null());
  if (model.has_decoder && drawn) {
    return absl::InvalidArgumentError(absl::StrCat(
        "image: '", model.name, "' works on latents, which cannot be drawn: begin from noise"));
  }
  RunRequest request;
  if (kind == "sample") {
    request = ParseSample(fields, model);
  } else if (kind == "diffuse") {
    request = ParseDiffuse(fields, model);
  } else if (kind == "evaluate") {
    request = ParseEvaluate(fields, model);
  } else {
    fields.Fail("kind", kind, "is none of sample, diffuse, evaluate");
  }
  if (!fields.status().ok()) return fields.status();
  return request;
}

}  // namespace denoise::viewer
