// Inputs of NAME and of NAME.sample as requests of the engines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "server/diffusion/field_error.h"
#include "server/rpc/inference/api_fields.h"
#include "server/rpc/inference/denoiser_request.h"
#include "server/rpc/inference/sample_request.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/inference/infer_message.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Message = inference::ModelInferRequest;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

InferModel Denoiser(ModelInfo model = TestModel()) {
  return {Shared(std::move(model)), InferKind::kDenoiser};
}
InferModel Sampling(ModelInfo model = TestModel()) {
  return {Shared(std::move(model)), InferKind::kSampling};
}

std::vector<InferTensor> Inputs(const Message& message, const InferModel& model) {
  const SharedMemory none;
  auto inputs = ReadInputs(message, InputsOf(model), none, 1 << 20);
  EXPECT_TRUE(inputs.ok()) << inputs.status();
  return inputs.ok() ? *std::move(inputs) : std::vector<InferTensor>();
}

absl::StatusOr<Request> MakeInference(const Message& message, const InferModel& model = Denoiser(),
                                      const Limits& limits = {}) {
  return MakeDenoiserRequest(model, Inputs(message, model), limits);
}

// Three samples of the test model.
Message Three(std::vector<float> times = {5, 7.5, 5}) {
  Message message;
  AddFloats("x", {3, 1, 2, 3}, std::vector<float>(18, 0.5f), &message);
  AddFloats("timestep", {static_cast<int64_t>(times.size())}, times, &message);
  return message;
}

TEST(DenoiserRequestTest, IsAChainOfOneRowForEachSample) {
  const auto request = MakeInference(Three());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->num_samples, 3u);
  ASSERT_EQ(request->table->rows.size(), 2u);  // one for each time
  EXPECT_THAT(request->only_row, ElementsAre(0, 1, 0));
  EXPECT_EQ(request->table->rows[0].timestep, 5);
  EXPECT_EQ(request->table->rows[1].timestep, 7.5);
  for (const Row& row : request->table->rows) {
    EXPECT_TRUE(row.denoise);
    EXPECT_FALSE(row.clip);
    EXPECT_FALSE(row.noise);
  }
  EXPECT_EQ(request->rows_per_chain(), 1u);
  EXPECT_EQ(request->first_row(1), 1u);
  EXPECT_EQ(request->end_row(1), 2u);
  EXPECT_THAT(request->labels, ElementsAre(10, 10, 10));  // the null class
  EXPECT_FALSE(request->guided);
  EXPECT_THAT(request->start, Each(0.5f));
  EXPECT_EQ(request->values_per_result(), 6u);
}

TEST(DenoiserRequestTest, OneTimeAndOneLabelAreForAll) {
  Message message = Three({9});
  AddRaw("class_labels", "INT64", {1}, BytesOf(std::vector<int64_t>{4}), &message);
  const auto request = MakeInference(message);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->only_row, ElementsAre(0, 0, 0));
  EXPECT_THAT(request->labels, ElementsAre(4, 4, 4));
}

TEST(DenoiserRequestTest, TheAnswerOfALearnedVarianceHasTwiceTheChannels) {
  ModelInfo model = TestModel();
  model.learned_variance = true;
  const auto request = MakeInference(Three(), Denoiser(model));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->values_per_result(), 12u);
  EXPECT_THAT(OutputsOf(Denoiser(model))[0].shape, ElementsAre(-1, 2, 2, 3));
}

TEST(DenoiserRequestTest, TakesConditionsByTheirNames) {
  Message message;
  AddFloats("x", {1, 1, 2, 3}, std::vector<float>(6, 0), &message);
  AddRaw("timestep", "INT64", {1}, BytesOf(std::vector<int64_t>{3}), &message);
  AddFloats("size", {1}, {2}, &message);
  AddRaw("tokens", "INT64", {1, 2}, BytesOf(std::vector<int64_t>{3, 4}), &message);
  AddRaw("mask", "BOOL", {1, 1, 2}, std::string("\x01\x00", 2), &message);
  const auto request = MakeInference(message, Denoiser(Conditioned()));
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_NE(request->conditions, nullptr);
  ASSERT_EQ(request->conditions->size(), 4u);
  EXPECT_THAT((*request->conditions)[1].shape, ElementsAre(2));
}

TEST(DenoiserRequestTest, RefusesInTermsOfTheInputs) {
  struct Bad {
    const char* name;
    std::function<Message()> make;
    const char* field;
    const char* says;
    ModelInfo model = TestModel();
    Limits limits = {};
  };
  ModelInfo whole_times = TestModel();
  whole_times.integer_time = true;
  ModelInfo flow = TestModel();
  flow.config.flow = FlowConfig{.num_train_timesteps = 100};
  const auto with_x = [](std::vector<int64_t> shape, std::vector<float> values) {
    Message message;
    AddFloats("x", shape, values, &message);
    AddFloats("timestep", {1}, {5}, &message);
    return message;
  };
  const auto with_labels = [](std::vector<int64_t> labels) {
    Message message = Three();
    AddRaw("class_labels", "INT64", {static_cast<int64_t>(labels.size())}, BytesOf(labels),
           &message);
    return message;
  };
  const std::vector<Bad> cases = {
      {"no x", [] { return Message(); }, "inputs[\"x\"]", "missing; give [N, C, H, W] FP32"},
      {"no timestep",
       [] {
         Message message;
         AddFloats("x", {1, 1, 2, 3}, std::vector<float>(6, 0), &message);
         return message;
       },
       "inputs[\"timestep\"]", "missing"},
      {"another size",
       [&] {
         return with_x({1, 1, 3, 2}, std::vector<float>(6, 0));
       },
       "inputs[\"x\"].shape", "[1, 1, 3, 2] is not [n, 1, 2, 3]"},
      {"without N",
       [&] {
         return with_x({1, 2, 3}, std::vector<float>(6, 0));
       },
       "inputs[\"x\"].shape", "is not"},
      {"NaN",
       [&] {
         return with_x({1, 1, 2, 3}, {0, 0, kNan, 0, 0, 0});
       },
       "inputs[\"x\"].data", "nan (value 2)"},
      {"too many",
       [&] {
         return with_x({3, 1, 2, 3}, std::vector<float>(18, 0));
       },
       "inputs[\"x\"].shape",
       "more than the 2 samples",
       TestModel(),
       {.max_samples = 2}},
      {"too large an answer",
       [&] {
         return with_x({3, 1, 2, 3}, std::vector<float>(18, 0));
       },
       "inputs[\"x\"].shape",
       "more than the 1080 of a message",
       TestModel(),
       {.max_message_bytes = 1080}},
      {"other times",
       [] {
         return Three({1, 2});
       },
       "inputs[\"timestep\"].shape", "[2] is not [1] or [3]"},
      {"a time that is none", [] { return Three({kNan}); }, "inputs[\"timestep\"]",
       "nan (value 0) is not in 0..99"},
      {"a time too late",
       [] {
         return Three({1, 2, 100});
       },
       "inputs[\"timestep\"]", "100 (value 2) is not in 0..99"},
      {"a time below 0", [] { return Three({-1}); }, "inputs[\"timestep\"]", "-1 (value 0)"},
      {"a fraction", [] { return Three(); }, "inputs[\"timestep\"]",
       "7.5 (value 1) is no whole number", whole_times},
      {"a time past T of a flow model", [] { return Three({100.5}); }, "inputs[\"timestep\"]",
       "is not in 0..100", flow},
      {"an unknown class",
       [&] {
         return with_labels({1, 2, 11});
       },
       "inputs[\"class_labels\"][2]", "11 is not in 0..9"},
      {"other labels",
       [&] {
         return with_labels({1, 2});
       },
       "inputs[\"class_labels\"]", "2 labels for 3 samples"},
      {"a condition that has no null value",
       [&] {
         return with_x({1, 1, 2, 3}, std::vector<float>(6, 0));
       },
       "inputs", "is left out", Conditioned()},
  };
  for (const Bad& bad : cases) {
    SCOPED_TRACE(bad.name);
    const auto request = MakeInference(bad.make(), Denoiser(bad.model), bad.limits);
    ASSERT_FALSE(request.ok());
    EXPECT_EQ(FieldOf(request.status()), bad.field);
    EXPECT_THAT(std::string(request.status().message()), HasSubstr(bad.says));
  }
}

absl::StatusOr<v1::SampleRequest> MakeSample(const Message& message, InferOutputs* outputs,
                                             const InferModel& model = Sampling(),
                                             bool streamed = true,
                                             std::optional<uint64_t> every = std::nullopt) {
  return MakeSampleRequest(model, Inputs(message, model), every, streamed, outputs);
}

TEST(SampleRequestTest, TranslatesEveryInput) {
  ModelInfo model = Conditioned();
  model.num_classes = 10;
  model.null_class = 10;
  Message message;
  AddRaw("num_samples", "UINT32", {1}, BytesOf(std::vector<uint32_t>{2}), &message);
  AddRaw("seed", "UINT64", {1}, std::string(8, '\xFF'), &message);
  AddRaw("steps", "INT64", {1}, BytesOf(std::vector<int64_t>{30}), &message);
  AddRaw("sampler", "BYTES", {1}, Element("sde_dpmpp_2m"), &message);
  AddFloats("eta", {1}, {0.25}, &message);
  AddFloats("guidance_scale", {1}, {3}, &message);
  AddFloats("guidance_rescale", {1}, {0.5}, &message);
  AddRaw("class_label", "INT32", {2}, BytesOf(std::vector<int32_t>{1, 2}), &message);
  AddRaw("negative_class_label", "INT64", {1}, BytesOf(std::vector<int64_t>{3}), &message);
  AddFloats("initial_noise", {2, 1, 2, 3}, std::vector<float>(12, 0.5f), &message);
  AddFloats("size", {1}, {2}, &message);
  AddRaw("every_n_steps", "UINT32", {1}, BytesOf(std::vector<uint32_t>{5}), &message);
  InferOutputs outputs;
  const auto request = MakeSample(message, &outputs, Sampling(model));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->num_samples(), 2u);
  EXPECT_EQ(request->seed(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(request->sampler().steps(), 30u);
  EXPECT_EQ(request->sampler().kind(), v1::Sampler::KIND_SDE_DPMPP_2M);
  EXPECT_EQ(request->sampler().eta(), 0.25f);
  EXPECT_EQ(request->guidance_scale(), 3);
  EXPECT_EQ(request->guidance_rescale(), 0.5f);
  EXPECT_THAT(request->class_labels(), ElementsAre(1, 2));
  EXPECT_THAT(request->negative_class_labels(), ElementsAre(3));
  EXPECT_THAT(FloatsOf(request->initial_noise()), Each(0.5f));
  EXPECT_EQ(request->conditions().at("size").dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_EQ(request->states().every_n_steps(), 5u);
  EXPECT_THAT(request->states().content(), ElementsAre(v1::CONTENT_X_T, v1::CONTENT_PREDICTED_X_0));
  EXPECT_EQ(request->encoding(), v1::ENCODING_UNSPECIFIED);
}

TEST(SampleRequestTest, EverySamplerHasItsName) {
  for (const SamplerKind kind : AllSamplers()) {
    Message message;
    AddRaw("sampler", "BYTES", {1}, Element(std::string(Name(kind))), &message);
    InferOutputs outputs;
    const auto request = MakeSample(message, &outputs);
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_NE(request->sampler().kind(), v1::Sampler::KIND_UNSPECIFIED);
  }
}

TEST(SampleRequestTest, LeavesOutWhatIsNotGiven) {
  InferOutputs outputs;
  const auto request = MakeSample(Message(), &outputs);
  ASSERT_TRUE(request.ok());
  EXPECT_FALSE(request->has_seed());
  EXPECT_FALSE(request->has_guidance_scale());
  EXPECT_FALSE(request->has_initial_noise());
  EXPECT_EQ(request->states().every_n_steps(), 0u);
  ASSERT_EQ(outputs.all().size(), 1u);
  EXPECT_EQ(outputs.all()[0].name, "sample");
}

TEST(SampleRequestTest, AsManySamplesAsLabelsOrNoise) {
  InferOutputs outputs;
  Message labels;
  AddRaw("class_label", "INT64", {3}, BytesOf(std::vector<int64_t>{1, 2, 3}), &labels);
  EXPECT_EQ(MakeSample(labels, &outputs)->num_samples(), 3u);
  Message noise;
  AddRaw("class_label", "INT64", {1}, BytesOf(std::vector<int64_t>{1}), &noise);
  AddFloats("initial_noise", {2, 1, 2, 3}, std::vector<float>(12, 0), &noise);
  EXPECT_EQ(MakeSample(noise, &outputs)->num_samples(), 2u);
}

TEST(SampleRequestTest, RefusesStatesThatCannotBeSent) {
  const auto named = [](std::vector<const char*> names) {
    Message message;
    for (const char* name : names) message.add_outputs()->set_name(name);
    const SharedMemory none;
    return *InferOutputs::Read(message, OutputsOf(Sampling()), none);
  };
  const auto field = [&](InferOutputs outputs, std::optional<uint64_t> every, bool streamed) {
    return FieldOf(MakeSample(Message(), &outputs, Sampling(), streamed, every).status());
  };
  EXPECT_EQ(field(named({}), 5, /*streamed=*/false), "every_n_steps");
  EXPECT_EQ(field(named({"x_t"}), std::nullopt, true), "outputs[\"x_t\"]");
  EXPECT_EQ(field(named({"sample"}), 5, true), "every_n_steps");
  EXPECT_EQ(field(named({"x_t"}), uint64_t{1} << 40, true), "every_n_steps");
  EXPECT_EQ(field(named({"step"}), 5, true), std::nullopt);

  Message twice;
  AddRaw("every_n_steps", "UINT32", {1}, BytesOf(std::vector<uint32_t>{5}), &twice);
  InferOutputs outputs;
  EXPECT_EQ(FieldOf(MakeSample(twice, &outputs, Sampling(), true, 5).status()),
            "parameters[\"every_n_steps\"]");
}

TEST(SampleRequestTest, DecodeIsOfModelsWithADecoder) {
  const InferModel model = Sampling(WithDecoder());
  Message message;
  AddRaw("decode", "BOOL", {1}, "\x01", &message);
  InferOutputs outputs;
  const auto request = MakeSample(message, &outputs, model, /*streamed=*/true, 2);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->decode());
  EXPECT_TRUE(request->states().decode());
  // Without states there is nothing of them to decode.
  InferOutputs sample_alone;
  EXPECT_FALSE(MakeSample(message, &sample_alone, model)->states().decode());

  const auto named = [&](const InferModel& of) {
    Message wanted;
    for (const char* name : {"sample", "png"}) wanted.add_outputs()->set_name(name);
    const SharedMemory none;
    return *InferOutputs::Read(wanted, OutputsOf(of), none);
  };
  InferOutputs both = named(model);
  EXPECT_EQ(FieldOf(MakeSample(Message(), &both, model).status()), "outputs[\"png\"]");
  EXPECT_TRUE(MakeSample(message, &both, model)->decode());

  for (const TensorSpec& spec : InputsOf(Sampling())) EXPECT_NE(spec.name, "decode");
  EXPECT_THAT(OutputsOf(model)[0].shape, ElementsAre(-1, -1, -1, -1));
}

TEST(SampleRequestTest, RefusesAnUnknownSampler) {
  for (const char* name : {"", "unspecified", "DDIM", "euler "}) {
    Message message;
    AddRaw("sampler", "BYTES", {1}, Element(name), &message);
    InferOutputs outputs;
    const auto request = MakeSample(message, &outputs);
    EXPECT_EQ(FieldOf(request.status()), "inputs[\"sampler\"]");
    EXPECT_THAT(std::string(request.status().message()), HasSubstr("known are ddpm, ddim"));
  }
}

TEST(SampleRequestTest, PicturesBesideSamplesMustFit) {
  Request request;
  request.model = Shared(TestModel());
  request.num_samples = 4;
  Message message;
  for (const char* name : {"sample", "png"}) message.add_outputs()->set_name(name);
  const SharedMemory none;
  const auto outputs = InferOutputs::Read(message, OutputsOf(Sampling()), none);
  ASSERT_TRUE(outputs.ok());
  EXPECT_TRUE(CheckSampleOutputs(request, *outputs, {}).ok());
  EXPECT_EQ(FieldOf(CheckSampleOutputs(request, *outputs, {.max_message_bytes = 4096})),
            "outputs[\"png\"]");
}

TEST(ApiFieldsTest, ErrorsAreAboutTheInputs) {
  ModelInfo model = Conditioned();
  model.num_classes = 10;
  const auto field = [&](const char* of_api) {
    return FieldOf(InTermsOfInputs(FieldError(of_api, "7 is wrong"), Sampling(model)));
  };
  EXPECT_EQ(field("sampler.steps"), "inputs[\"steps\"]");
  EXPECT_EQ(field("sampler.kind"), "inputs[\"sampler\"]");
  EXPECT_EQ(field("sampler"), "inputs[\"sampler\"]");
  EXPECT_EQ(field("class_labels[2]"), "inputs[\"class_label\"][2]");
  EXPECT_EQ(field("negative_class_labels"), "inputs[\"negative_class_label\"]");
  EXPECT_EQ(field("initial_noise.shape"), "inputs[\"initial_noise\"].shape");
  EXPECT_EQ(field("conditions[\"tokens\"].dtype"), "inputs[\"tokens\"].dtype");
  EXPECT_EQ(field("conditions"), "inputs");
  EXPECT_EQ(field("encoding"), "outputs[\"png\"]");
  EXPECT_EQ(field("states.every_n_steps"), "inputs[\"every_n_steps\"]");
  EXPECT_EQ(field("model_version"), "model_version");
  const absl::Status status =
      InTermsOfInputs(FieldError("sampler.eta", "7 is wrong"), Sampling(model));
  EXPECT_EQ(status.message(), "inputs[\"eta\"]: 7 is wrong");
  EXPECT_EQ(InTermsOfInputs(absl::InternalError("x"), Sampling(model)), absl::InternalError("x"));
}

TEST(InferModelTest, AConditionWhoseNameIsTakenGetsAnother) {
  ModelInfo model = WithoutClasses();
  model.inputs = {{"steps", ModelInput::Kind::kCondition, ElementType::kFloat32, {3}, {{0}}},
                  {"x", ModelInput::Kind::kCondition, ElementType::kBool, {-1}, {{0}}}};
  EXPECT_EQ(ConditionName(model.inputs[0], InferKind::kSampling), "condition_steps");
  EXPECT_EQ(ConditionName(model.inputs[0], InferKind::kDenoiser), "steps");
  EXPECT_EQ(ConditionName(model.inputs[1], InferKind::kDenoiser), "condition_x");
  const TensorSpec steps = InputsOf(Denoiser(model))[2];
  EXPECT_EQ(steps.name, "steps");
  EXPECT_THAT(steps.shape, ElementsAre(-1, 3));
  EXPECT_TRUE(steps.optional);
  EXPECT_FALSE(InputsOf(Denoiser(model))[3].optional);  // its extent must be said
}

TEST(InferModelTest, FindsBothModelsOfAName) {
  Catalog catalog;
  catalog.Add(Shared(TestModel("digits")));
  catalog.Add(Shared(TestModel("odd.sample")));
  const auto find = [&](const char* name, const char* version = "") {
    return FindInferModel(catalog, name, version);
  };
  EXPECT_EQ(find("digits")->model.kind, InferKind::kDenoiser);
  EXPECT_EQ(find("digits.sample")->model.kind, InferKind::kSampling);
  EXPECT_EQ(find("digits.sample", "1")->model.name(), "digits.sample");
  EXPECT_EQ(find("odd.sample")->model.kind, InferKind::kDenoiser);
  EXPECT_EQ(find("odd.sample.sample")->model.name(), "odd.sample.sample");
  for (const char* name : {"cats", "cats.sample", ".sample", "sample"}) {
    EXPECT_TRUE(absl::IsNotFound(find(name).status())) << name;
  }
  EXPECT_TRUE(absl::IsNotFound(find("digits", "2").status()));
  EXPECT_EQ(FieldOf(find("").status()), "model_name");
  for (const char* version : {"0", "-1", "one", "1.0", "99999999999999999999"}) {
    EXPECT_EQ(FieldOf(find("digits", version).status()), "model_version") << version;
  }
  EXPECT_EQ(AllInferModels(catalog).size(), 4u);
}

}  // namespace
}  // namespace denoise
