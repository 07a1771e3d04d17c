#include "client/viewer/request.h"

#include "client/viewer/event_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::viewer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Model TestModel() {
  Model model;
  model.name = "tiny";
  model.sample_shape = {1, 1, 2};
  model.value_min = -1;
  model.value_max = 1;
  model.num_classes = 10;
  model.null_class = 10;
  model.num_train_timesteps = 1000;
  model.default_steps = 120;
  return model;
}

absl::StatusOr<RunRequest> Parse(const std::string& body, const Model& model = TestModel()) {
  const auto document = ParseBody(body);
  if (!document.ok()) return document.status();
  return ParseRun(*document, model);
}

std::string ErrorOf(const std::string& body) {
  const auto request = Parse(body);
  EXPECT_TRUE(absl::IsInvalidArgument(request.status())) << body;
  return std::string(request.status().message());
}

TEST(RequestTest, ReadsASample) {
  const auto request = Parse(
      R"({"kind":"sample","n":4,"seed":4294967295,"sampler":"heun","steps":7,"class":3,"guidance":2.5})");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& sample = std::get<SampleRequest>(*request);
  EXPECT_EQ(sample.model, "tiny");
  EXPECT_EQ(sample.num_samples, 4u);
  EXPECT_EQ(sample.seed, 4294967295u);
  EXPECT_EQ(sample.sampler.kind, Sampler::Kind::kHeun);
  EXPECT_EQ(sample.sampler.steps, 7u);
  EXPECT_THAT(sample.class_labels, ElementsAre(3));
  EXPECT_EQ(sample.guidance_scale, 2.5f);
  EXPECT_EQ(sample.states.every_n_steps, 1u);
  EXPECT_FALSE(sample.image_to_image || sample.inpainting);
}

TEST(RequestTest, BoundsTheStatesOfLongChains) {
  const auto request = Parse(R"({"kind":"sample"})");  // of 120 steps
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<SampleRequest>(*request).states.every_n_steps, 3u);
  EXPECT_FALSE(std::get<SampleRequest>(*request).seed.has_value());
}

TEST(RequestTest, BringsImagesIntoTheModelsRange) {
  const auto request = Parse(R"({"kind":"sample","image":[0,255],"mask":[255,0]})");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& inpainting = std::get<SampleRequest>(*request).inpainting;
  ASSERT_TRUE(inpainting.has_value());
  EXPECT_THAT(inpainting->image.values, ElementsAre(-1, 1));
  EXPECT_THAT(inpainting->image.shape, ElementsAre(1, 1, 1, 2));
  EXPECT_THAT(inpainting->mask.values, ElementsAre(1, 0));

  const auto from = Parse(R"({"kind":"sample","image":[0,255],"strength":0.5})");
  ASSERT_TRUE(from.ok()) << from.status();
  EXPECT_EQ(std::get<SampleRequest>(*from).image_to_image->strength, 0.5f);
}

TEST(RequestTest, ReadsDiffuseAndEvaluate) {
  const auto diffuse = Parse(R"({"kind":"diffuse","image":[0,255],"seed":2,"timesteps":[0,999]})");
  ASSERT_TRUE(diffuse.ok()) << diffuse.status();
  EXPECT_THAT(std::get<DiffuseRequest>(*diffuse).timesteps, ElementsAre(0, 999));
  EXPECT_TRUE(std::get<DiffuseRequest>(*diffuse).chain);
  const auto evaluate = Parse(R"({"kind":"evaluate","image":[0,255],"class":1,"terms":20})");
  ASSERT_TRUE(evaluate.ok()) << evaluate.status();
  EXPECT_EQ(std::get<EvaluateRequest>(*evaluate).num_timesteps, 20u);
}

TEST(RequestTest, NamesWhatIsWrong) {
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf("{"), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("kind"));
  const std::pair<const char*, const char*> wrong[] = {
      {R"("n":65)", "n: 65"},
      {R"("n":0)", "n: 0"},
      {R"("seed":18446744073709551615)", "seed: 18446744073709551615"},
      {R"("seed":-1)", "seed: -1"},
      {R"("steps":1.5)", "steps: 1.5"},
      {R"("sampler":"best")", "sampler: \"best\""},
      {R"("class":11)", "class: 11"},
      {R"("guidance":"2")", "guidance: \"2\""},
      {R"("guidance":1e300)", "guidance: 1e+300"},
      {R"("image":[0])", "image: a list of 1"},
      {R"("image":[0,256])", "image: a list of 2"},
      {R"("image":[0,-1])", "image: a list of 2"},
      {R"("mask":[0,0])", "mask"},
      {R"("image":[0,0],"mask":[0,0],"strength":1)", "strength"},
      {R"("stepz":3)", "stepz: 3"}};
  for (const auto& [field, message] : wrong) {
    EXPECT_THAT(ErrorOf(std::string(R"({"kind":"sample",)") + field + "}"), HasSubstr(message));
  }
  EXPECT_THAT(ErrorOf(R"({"kind":"diffuse","timesteps":[1]})"), HasSubstr("image"));
  EXPECT_THAT(ErrorOf(R"({"kind":"diffuse","image":[0,0],"timesteps":[5,5]})"),
              HasSubstr("timesteps"));
  EXPECT_THAT(ErrorOf(R"({"kind":"diffuse","image":[0,0],"timesteps":[1000]})"),
              HasSubstr("timesteps"));
}

TEST(RequestTest, OutlivesNestingDeeperThanTheStack) {
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  EXPECT_THAT(ErrorOf(R"({"kind":"sample","n":)" + deep + "}"), HasSubstr("n: a list of 1"));
  EXPECT_THAT(ErrorOf(R"({"kind":"sample","image":{"a":)" + deep + "}}"),
              HasSubstr("image: an object"));
}

TEST(RequestTest, RefusesModelsWithoutPictures) {
  Model model = TestModel();
  model.sample_shape = {4, 1, 2};
  EXPECT_TRUE(absl::IsInvalidArgument(Parse(R"({"kind":"sample"})", model).status()));
}

TEST(RequestTest, ModelsWithADecoderAreShownDecodedAndBeginFromNoise) {
  Model model = TestModel();
  model.sample_shape = {4, 1, 2};
  model.has_decoder = true;
  model.decoded_shape = {3, 8, 16};
  model.decoded_value_max = 1;
  EXPECT_TRUE(Parse(R"({"kind":"sample","image":null})", model).ok());
  for (const char* body :
       {R"({"kind":"sample","image":[1,2]})", R"({"kind":"diffuse"})", R"({"kind":"evaluate"})"}) {
    const auto refused = Parse(body, model);
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << body;
    EXPECT_THAT(std::string(refused.status().message()),
                HasSubstr("image: 'tiny' works on latents"));
  }
  const nlohmann::json json = ToJson(model);
  EXPECT_EQ(json["sample_shape"], (std::vector<int>{3, 8, 16}));
  EXPECT_EQ(json["drawable"], false);
  EXPECT_EQ(ToJson(TestModel())["drawable"], true);
  model.decoded_shape = {2, 8, 16};
  EXPECT_FALSE(Parse(R"({"kind":"sample"})", model).ok());
}

TEST(EventJsonTest, IsTextWhateverBytesANameHolds) {
  Model model = TestModel();
  model.name = "a\xff\n\"</script>";
  const std::string text = Dump(ToJson(model));
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_TRUE(nlohmann::json::accept(text));
}

}  // namespace
}  // namespace denoise::viewer
