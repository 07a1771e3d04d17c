#include "server/rpc/inference/sample_request.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "server/rpc/inference/api_fields.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

constexpr uint64_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

// What intermediate states are made of.
constexpr const char* kOfStates[] = {"x_t", "predicted_x_0", "sample_index", "step", "timestep"};

absl::StatusOr<v1::Sampler::Kind> KindOf(const InferTensor& tensor) {
  const absl::StatusOr<std::string> name = Text(tensor);
  if (!name.ok()) return name.status();
  std::vector<std::string> known;
  for (const SamplerKind kind : AllSamplers()) {
    known.emplace_back(Name(kind));
    v1::Sampler::Kind parsed;
    if (*name == known.back() &&
        v1::Sampler::Kind_Parse(absl::StrCat("KIND_", absl::AsciiStrToUpper(*name)), &parsed)) {
      return parsed;
    }
  }
  return FieldError(tensor.field(), absl::StrCat(Quote(*name), " is not known here; known are ",
                                                 absl::StrJoin(known, ", ")));
}

// Reads inputs into fields, the first error kept.
class Reader {
 public:
  explicit Reader(std::vector<InferTensor>* inputs) : inputs_(inputs) {}

  const absl::Status& status() const { return status_; }

  // Calls `set` with what `get` makes of the input, where it is there.
  template <typename Get, typename Set>
  void Read(const char* name, Get get, Set set) {
    if (!status_.ok()) return;
    std::optional<InferTensor> tensor = TakeInput(name, inputs_);
    if (!tensor.has_value()) return;
    auto value = get(*std::move(tensor));
    if (value.ok()) {
      set(*std::move(value));
    } else {
      status_ = value.status();
    }
  }

 private:
  std::vector<InferTensor>* const inputs_;
  absl::Status status_;
};

absl::StatusOr<uint64_t> Uint32(const InferTensor& tensor) { return Unsigned(tensor, kMaxUint32); }
absl::StatusOr<uint64_t> Uint64(const InferTensor& tensor) {
  return Unsigned(tensor, std::numeric_limits<uint64_t>::max());
}

absl::Status SetStates(uint64_t every_n_steps, bool streamed, InferOutputs* outputs,
                       v1::StateStreaming* states) {
  if (every_n_steps == 0) {
    outputs->UseIfNoneNamed({"sample"});
    for (const char* name : kOfStates) {
      if (outputs->Find(name) == nullptr) continue;
      return FieldError(FieldOfOutput(name),
                        "is of intermediate states, and none are asked for; give every_n_steps, "
                        "and call ModelStreamInfer");
    }
    return absl::OkStatus();
  }
  if (!streamed) {
    return FieldError("every_n_steps", absl::StrCat(every_n_steps,
                                                    ", but states are streamed, and ModelInfer "
                                                    "answers once; call ModelStreamInfer"));
  }
  if (every_n_steps > kMaxUint32) {
    return FieldError("every_n_steps", absl::StrCat(every_n_steps, " is not in 0..", kMaxUint32));
  }
  outputs->UseIfNoneNamed({"sample", "x_t", "predicted_x_0", "sample_index", "step", "timestep"});
  for (const char* name : kOfStates) {
    const InferOutput* output = outputs->Find(name);
    if (output != nullptr && output->place.has_value()) {
      return FieldError(FieldOfOutput(name),
                        "each state would be written over the one before; leave it out of shared "
                        "memory");
    }
  }
  if (std::none_of(std::begin(kOfStates), std::end(kOfStates),
                   [&](const char* name) { return outputs->Find(name) != nullptr; })) {
    return FieldError("every_n_steps", absl::StrCat(every_n_steps,
                                                    ", but no output of states is named; name for "
                                                    "example \"x_t\""));
  }
  states->set_every_n_steps(static_cast<uint32_t>(every_n_steps));
  if (outputs->Find("x_t") != nullptr) states->add_content(v1::CONTENT_X_T);
  if (outputs->Find("predicted_x_0") != nullptr) states->add_content(v1::CONTENT_PREDICTED_X_0);
  return absl::OkStatus();
}

// As many as what is given for each of them.
uint32_t SamplesOf(const v1::SampleRequest& message) {
  const auto& shape = message.initial_noise().shape();
  const uint64_t given = !shape.empty() ? shape[0] : message.class_labels_size();
  return static_cast<uint32_t>(std::min(given, kMaxUint32));
}

}  // namespace

absl::StatusOr<v1::SampleRequest> MakeSampleRequest(const InferModel& model,
                                                    std::vector<InferTensor> inputs,
                                                    std::optional<uint64_t> every_n_steps,
                                                    bool streamed, InferOutputs* outputs) {
  v1::SampleRequest message;
  v1::Sampler* const sampler = message.mutable_sampler();
  Reader reader(&inputs);
  reader.Read("num_samples", Uint32, [&](uint64_t n) { message.set_num_samples(n); });
  reader.Read("seed", Uint64, [&](uint64_t seed) { message.set_seed(seed); });
  reader.Read("steps", Uint32, [&](uint64_t steps) { sampler->set_steps(steps); });
  reader.Read("sampler", KindOf, [&](v1::Sampler::Kind kind) { sampler->set_kind(kind); });
  reader.Read("eta", Float, [&](float eta) { sampler->set_eta(eta); });
  reader.Read("guidance_scale", Float, [&](float w) { message.set_guidance_scale(w); });
  reader.Read("guidance_rescale", Float, [&](float r) { message.set_guidance_rescale(r); });
  reader.Read("class_label", Integers, [&](const std::vector<int64_t>& labels) {
    message.mutable_class_labels()->Assign(labels.begin(), labels.end());
  });
  reader.Read("negative_class_label", Integers, [&](const std::vector<int64_t>& labels) {
    message.mutable_negative_class_labels()->Assign(labels.begin(), labels.end());
  });
  const auto to_tensor = [](InferTensor tensor) {
    return ToTensor(std::move(tensor), InferType::kFp32);
  };
  reader.Read("initial_noise", to_tensor,
              [&](v1::Tensor noise) { *message.mutable_initial_noise() = std::move(noise); });
  reader.Read("decode", Bool, [&](bool decode) { message.set_decode(decode); });
  bool twice = false;
  reader.Read("every_n_steps", Uint32, [&](uint64_t every) {
    twice = every_n_steps.has_value();
    every_n_steps = every;
  });
  if (!reader.status().ok()) return reader.status();
  if (twice) {
    return FieldError("parameters[\"every_n_steps\"]", "is given as an input, too; give one");
  }
  absl::StatusOr<ConditionMap> conditions = TakeConditions(model, &inputs);
  if (!conditions.ok()) return conditions.status();
  *message.mutable_conditions() = *std::move(conditions);

  if (message.num_samples() == 0) message.set_num_samples(SamplesOf(message));
  absl::Status status =
      SetStates(every_n_steps.value_or(0), streamed, outputs, message.mutable_states());
  if (!status.ok()) return status;
  // Only the states that there are, of which progress alone has nothing to decode.
  message.mutable_states()->set_decode(message.decode() && message.states().content_size() > 0);
  if (outputs->Find("png") != nullptr) {
    if (outputs->Find("sample") == nullptr) {
      message.set_encoding(v1::ENCODING_PNG);
    } else if (model.info->decoder.has_value() && !message.decode()) {
      return FieldError("outputs[\"png\"]",
                        "is decoded, and \"sample\" beside it is not; give decode, or ask for one "
                        "of them");
    }
  }
  return message;
}

absl::Status CheckSampleOutputs(const Request& request, const InferOutputs& outputs,
                                const Limits& limits) {
  const SampleShape shape = request.result_format().shape;
  const auto values = static_cast<uint64_t>(shape.values()) * request.num_samples;
  const uint64_t raw = values * sizeof(float);
  if (const InferOutput* sample = outputs.Find("sample")) {
    if (absl::Status status = CheckRoom(*sample, raw); !status.ok()) return status;
  }
  // Each alone was checked by the validator. A PNG is hardly more than its pixels.
  if (outputs.Find("png") == nullptr || outputs.Find("sample") == nullptr) return absl::OkStatus();
  const uint64_t bytes =
      raw + values + values / 1000 + request.num_samples * (shape.height + uint64_t{1024});
  if (bytes <= limits.max_message_bytes) return absl::OkStatus();
  return FieldError(
      "outputs[\"png\"]",
      absl::StrCat("beside \"sample\" it would make an answer of ", bytes, " bytes, more than the ",
                   limits.max_message_bytes, " of a message; ask for one of them"));
}

}  // namespace denoise
