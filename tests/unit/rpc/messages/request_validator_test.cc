#include "server/rpc/messages/request_validator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelInfo Latent() {
  ModelInfo model = TestModel("latent");
  model.shape.channels = 4;
  return model;
}

ModelInfo WholeTimes() {
  ModelInfo model = TestModel("whole");
  model.integer_time = true;
  return model;
}

using RequestValidatorTest = ValidatorTest;

using S = v1::SampleRequest;
TEST_F(RequestValidatorTest, BadSampleRequestsAreToldFieldValueAndFix) {
  const v1::Tensor noise = Values({1, 1, 2, 3});
  ExpectRefused(
      S(),
      {
          {"priority: 101", "priority", {"101", "-100..100"}},
          {"priority: -101", "priority", {"-101"}},
          {"num_samples: 65", "num_samples", {"65", "1..64"}},
          {"num_samples: 4294967295", "num_samples", {"4294967295"}},
          {"sampler { steps: 101 }", "sampler.steps", {"101", "100"}},
          {"sampler { steps: 2147483648 }", "sampler.steps", {"2147483648"}},
          {"sampler { timesteps: 50 steps: 1 }",
           "sampler.timesteps",
           {"sampler.steps 1", "leave one"}},
          {"sampler { timesteps: 50 timestep_spacing: TIMESTEP_SPACING_LEADING }",
           "sampler.timesteps",
           {"leading"}},
          {"sampler { timesteps: [50, 60] }", "sampler.timesteps[1]", {"60", "descending"}},
          {"sampler { timesteps: 100 }", "sampler.timesteps[0]", {"100", "0..99"}},
          {"sampler { timesteps: nan }", "sampler.timesteps[0]", {"nan"}},
          {Times(101, "sampler { timesteps: 50 }"), "sampler.timesteps", {"101", "100"}},
          {"sampler { timesteps: 50.5 }", "sampler.timesteps[0]", {"50.5", "whole"}},
          {"sampler { kind: KIND_EULER timesteps: 50.5 }",
           "sampler.timesteps",
           {"no integers", "\"whole\"", "choose others"},
           WholeTimes()},
          {"sampler { kind: KIND_EULER steps: 7 }",
           "sampler",
           {"no integers", "another sampler"},
           WholeTimes()},
          {"sampler { kind: 99 }", "sampler.kind", {"99", "KIND_DEIS (12)"}},
          {"sampler { kind: -7 }", "sampler.kind", {"-7"}},
          {"sampler { timestep_spacing: 4 }",
           "sampler.timestep_spacing",
           {"4", "TIMESTEP_SPACING_LEADING (1)"}},
          {"sampler { kind: KIND_EULER sigmas: 9 }", "sampler.sigmas", {"9", "SIGMAS_KARRAS (2)"}},
          {"sampler { kind: KIND_DDIM sigmas: SIGMAS_KARRAS }",
           "sampler.sigmas",
           {"karras", "ddim"}},
          {"sampler { variance: 12 }", "sampler.variance", {"12", "VARIANCE_LEARNED_RANGE (4)"}},
          {"sampler { variance: VARIANCE_LEARNED }", "sampler.variance", {"learned"}},
          {"sampler { kind: KIND_DDIM variance: VARIANCE_FIXED_LARGE }",
           "sampler.variance",
           {"ddim"}},
          {"sampler { kind: KIND_DDIM eta: 1.5 }", "sampler.eta", {"1.5", "0..1"}},
          {"sampler { kind: KIND_DDIM eta: -0.5 }", "sampler.eta", {"-0.5"}},
          {"sampler { eta: nan }", "sampler.eta", {"nan"}},
          {"sampler { kind: KIND_DDPM eta: 0.5 }", "sampler.eta", {"0.5"}},
          {"sampler { clip_sample_range: inf }", "sampler.clip_sample_range", {"inf"}},
          {"sampler { clip_sample_range: 0 }", "sampler.clip_sample_range", {"0"}},
          {"sampler { clip_sample_range: -1 }", "sampler.clip_sample_range", {"-1"}},
          {"sampler { clip_sample: false clip_sample_range: 0.5 }",
           "sampler.clip_sample_range",
           {"0.5"}},
          {"sampler { kind: KIND_DDPM use_clipped_model_output: true }",
           "sampler.use_clipped_model_output",
           {"ddpm"}},
          {Text("initial_noise", Values({1, 1, 3, 2})),
           "initial_noise.shape",
           {"[1, 1, 3, 2]", "[1, 1, 2, 3]"}},
          {"num_samples: 2 " + Text("initial_noise", noise),
           "initial_noise.shape",
           {"[1, 1, 2, 3]", "[2, 1, 2, 3]"}},
          {"initial_noise {}", "initial_noise.dtype", {"0", "FLOAT32"}},
          {Text("initial_noise", Values({1, 1, 2, 3}, kNan)), "initial_noise.data", {"nan"}},
          {Text("initial_noise", Values({1, 1, 2, 3}, 1e38f)),
           "initial_noise.data",
           {"1e+38", "-1000..1000"}},
          {"states { steps: 21 }", "states.steps[0]", {"21", "0..20"}},
          {Times(22, "states { steps: 1 }"), "states.steps", {"22", "21"}},
          {"states { every_n_steps: 1 content: 3 }", "states.content[0]", {"3", "CONTENT_X_T (1)"}},
          {"states { every_n_steps: 1 content: [CONTENT_X_T, CONTENT_UNSPECIFIED] }",
           "states.content[1]",
           {"0"}},
          {"states { every_n_steps: 1 content: [CONTENT_X_T, CONTENT_X_T] }",
           "states.content[1]",
           {"1", "twice"}},
          {"states { content: CONTENT_X_T }",
           "states.content",
           {"1 given", "states.every_n_steps"}},
          {"states { every_n_steps: 1 encoding: 9 }", "states.encoding", {"9", "ENCODING_PNG (2)"}},
          {"states { encoding: ENCODING_PNG }",
           "states.encoding",
           {"ENCODING_PNG", "states.every_n_steps"}},
          {"states { every_n_steps: 1 encoding: ENCODING_PNG }",
           "states.encoding",
           {"ENCODING_PNG", "states.content"}},
          {"encoding: -1", "encoding", {"-1"}},
          {"encoding: ENCODING_PNG", "encoding", {"4", "1 or 3", "ENCODING_RAW"}, Latent()},
          {"states { every_n_steps: 1 content: CONTENT_X_T encoding: ENCODING_PNG }",
           "states.encoding",
           {"4", "1 or 3"},
           Latent()},
      });
}

TEST_F(RequestValidatorTest, EmptySampleRequestHasTheModelsDefaults) {
  const auto validated = Validate(S());
  ASSERT_TRUE(validated.ok()) << validated.status();
  const Request& request = validated->request;
  EXPECT_EQ(request.num_samples, 1u);
  EXPECT_EQ(request.table->total_steps, 20u);
  EXPECT_THAT(request.labels, ElementsAre(10));
  EXPECT_FALSE(request.guided);
  EXPECT_FALSE(request.states.any());
  EXPECT_TRUE(request.start.empty());
  EXPECT_FALSE(validated->encodings.png_samples);
  EXPECT_FALSE(validated->encodings.png_states);
  EXPECT_LE(request.seed, kMaxUint32);
}

TEST_F(RequestValidatorTest, PickedSeedsDiffer) {
  EXPECT_NE(Validate(S())->request.seed, Validate(S())->request.seed);
  S message;
  message.set_seed(0);
  EXPECT_EQ(Validate(message)->request.seed, 0u);
  message.set_seed(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Validate(message)->request.seed, std::numeric_limits<uint64_t>::max());
}

TEST_F(RequestValidatorTest, States) {
  S message;
  message.mutable_sampler()->set_steps(4);
  message.mutable_states()->set_every_n_steps(2);
  EXPECT_THAT(Validate(message)->request.states.content, ElementsAre(Content::kProgress));

  for (const uint32_t step : {3, 0, 3}) message.mutable_states()->add_steps(step);
  message.mutable_states()->add_content(v1::CONTENT_PREDICTED_X_0);
  message.mutable_states()->add_content(v1::CONTENT_X_T);
  message.mutable_states()->set_encoding(v1::ENCODING_PNG);
  const auto validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  const StateSelection& states = validated->request.states;
  EXPECT_EQ(states.every_n_steps, 2u);
  EXPECT_THAT(states.steps, ElementsAre(0, 3));
  EXPECT_THAT(states.content, ElementsAre(Content::kPredictedX0, Content::kXt));
  EXPECT_TRUE(validated->encodings.png_states);
  EXPECT_FALSE(validated->encodings.png_samples);
}

TEST_F(RequestValidatorTest, SamplerOptionsReachTheTable) {
  S message;
  v1::Sampler* sampler = message.mutable_sampler();
  sampler->set_kind(v1::Sampler::KIND_DDIM);
  sampler->set_steps(5);
  sampler->set_eta(0.5);
  sampler->set_timestep_spacing(v1::Sampler::TIMESTEP_SPACING_TRAILING);
  sampler->set_clip_sample_range(3);
  auto table = Validate(message)->request.table;
  EXPECT_EQ(table->total_steps, 5u);
  EXPECT_EQ(table->initial_timestep, 99);
  EXPECT_TRUE(table->stochastic);
  EXPECT_EQ(table->rows[0].clip_range, 3);

  sampler->set_eta(0);
  sampler->clear_clip_sample_range();
  sampler->set_clip_sample(false);
  sampler->set_timestep_spacing(v1::Sampler::TIMESTEP_SPACING_LEADING);
  table = Validate(message)->request.table;
  EXPECT_EQ(table->initial_timestep, 80);
  EXPECT_FALSE(table->stochastic);
  EXPECT_FALSE(table->rows[0].clip);

  sampler->Clear();
  sampler->set_kind(v1::Sampler::KIND_EULER);
  for (const float t : {90.0f, 40.5f, 3.0f}) sampler->add_timesteps(t);
  table = Validate(message)->request.table;
  EXPECT_EQ(table->total_steps, 3u);
  EXPECT_EQ(table->rows[1].timestep, 40.5);

  // The model's own sampler.
  ModelInfo model = TestModel();
  model.default_sampler = SamplerKind::kDdim;
  S plain;
  EXPECT_TRUE(Validate(plain)->request.table->stochastic);
  EXPECT_FALSE(Validate(plain, model)->request.table->stochastic);
}

TEST_F(RequestValidatorTest, InitialNoise) {
  S message;
  message.set_num_samples(2);
  *message.mutable_initial_noise() = Values({2, 1, 2, 3}, -1.5f);
  const auto validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_EQ(validated->request.start.size(), 12u);
  EXPECT_THAT(validated->request.start, Each(-1.5f));
}

TEST_F(RequestValidatorTest, AnswersLargerThanAMessageAreRefused) {
  ModelInfo model = TestModel();
  model.shape = {1, 100, 100};  // 40,000 bytes a sample, 10,000 as a picture
  limits_.max_message_bytes = 100'000;
  S message;
  message.set_num_samples(2);
  EXPECT_TRUE(Validate(message, model).ok());
  message.set_num_samples(3);
  const auto raw = Validate(message, model);
  EXPECT_EQ(FieldOf(raw.status()), "num_samples");
  EXPECT_THAT(std::string(raw.status().message()), HasSubstr("121024 bytes"));
  message.set_encoding(v1::ENCODING_PNG);
  EXPECT_TRUE(Validate(message, model).ok());
  // A picture may do where a state may not.
  limits_.max_message_bytes = 20'000;
  message.set_num_samples(1);
  message.mutable_states()->set_every_n_steps(1);
  message.mutable_states()->add_content(v1::CONTENT_X_T);
  EXPECT_EQ(FieldOf(Validate(message, model).status()), "states.encoding");
  message.mutable_states()->set_encoding(v1::ENCODING_PNG);
  EXPECT_TRUE(Validate(message, model).ok());
}

using D = v1::DiffuseRequest;
D GoodDiffuse() {
  D message;
  *message.mutable_x_0() = Values({2, 1, 2, 3});
  for (const uint32_t t : {0, 40, 99}) message.add_timesteps(t);
  return message;
}

TEST_F(RequestValidatorTest, BadDiffuseRequestsAreToldFieldValueAndFix) {
  D message = GoodDiffuse();
  for (const bool chain : {false, true}) {
    message.set_chain(chain);
    ExpectRefused(message, {
                               {"timesteps: 100", "timesteps", {"100", "99"}},
                               {"timesteps: 4294967295", "timesteps", {"4294967295"}},
                               {"timesteps: 99", "timesteps", {"99"}},
                               {"timesteps: 0", "timesteps", {"0"}},
                               {Times(1000, "timesteps: 5"), "timesteps", {"1003", "100"}},
                               {"encoding: 3", "encoding", {"3"}},
                           });
    D without_times = message;
    without_times.clear_timesteps();
    ExpectRefused(without_times, {{"", "timesteps", {}}});
    D without_x_0 = message;
    without_x_0.clear_x_0();
    ExpectRefused(without_x_0,
                  {
                      {"", "x_0", {"missing", "[n, C, H, W]"}},
                      {Text("x_0", Values({1, 2, 3})), "x_0.shape", {"[1, 2, 3]", "[n, 1, 2, 3]"}},
                      {Text("x_0", Values({0, 1, 2, 3})), "x_0.shape", {"[0, 1, 2, 3]"}},
                      {Text("x_0", Values({65, 1, 2, 3})), "x_0.shape", {"65", "64"}},
                      {Text("x_0", Values({1, 1, 2, 3}, kNan)), "x_0.data", {"nan"}},
                      {Text("x_0", Values({1, 1, 2, 3}, 1.6f)), "x_0.data", {"1.6", "-1.5..1.5"}},
                  });
  }
}

TEST_F(RequestValidatorTest, Diffuse) {
  D message = GoodDiffuse();
  message.set_seed(7);
  message.set_encoding(v1::ENCODING_PNG);
  for (const bool chain : {false, true}) {
    message.set_chain(chain);
    const auto validated = Validate(message);
    ASSERT_TRUE(validated.ok()) << validated.status();
    const Request& request = validated->request;
    EXPECT_EQ(request.num_samples, 2u);
    EXPECT_EQ(request.seed, 7u);
    EXPECT_TRUE(request.labels.empty());
    EXPECT_EQ(request.start.size(), 12u);
    EXPECT_EQ(request.table->total_steps, 3u);
    EXPECT_EQ(request.table->rows.size(), chain ? 100u : 3u);
    EXPECT_EQ(request.rows_per_chain(), 0u);  // no denoiser
    for (const uint32_t step : {1, 2, 3}) EXPECT_TRUE(request.states.Wants(step, 3));
    EXPECT_THAT(request.states.content, ElementsAre(Content::kXt));
    EXPECT_TRUE(validated->encodings.png_states);
  }
  // Samples that end a little outside are welcome.
  *message.mutable_x_0() = Values({1, 1, 2, 3}, -1.015f);
  EXPECT_TRUE(Validate(message).ok());
}

}  // namespace
}  // namespace denoise
