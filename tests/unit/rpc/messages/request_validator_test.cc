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
const std::vector<Bad<S>>& BadSamples() {
  static const auto* cases = new std::vector<Bad<S>>{
      {"too high a priority", [](S* m) { m->set_priority(101); }, "priority", {"101", "-100..100"}},
      {"too low a priority", [](S* m) { m->set_priority(-101); }, "priority", {"-101"}},
      {"too many samples", [](S* m) { m->set_num_samples(65); }, "num_samples", {"65", "1..64"}},
      {"2^32-1 samples",
       [](S* m) { m->set_num_samples(kMaxUint32); },
       "num_samples",
       {"4294967295"}},
      {"more steps than T",
       [](S* m) { m->mutable_sampler()->set_steps(101); },
       "sampler.steps",
       {"101", "100"}},
      {"2^31 steps",
       [](S* m) { m->mutable_sampler()->set_steps(1u << 31); },
       "sampler.steps",
       {"2147483648"}},
      {"times and steps",
       [](S* m) {
         m->mutable_sampler()->add_timesteps(50);
         m->mutable_sampler()->set_steps(1);
       },
       "sampler.timesteps",
       {"sampler.steps 1", "leave one"}},
      {"times and a spacing",
       [](S* m) {
         m->mutable_sampler()->add_timesteps(50);
         m->mutable_sampler()->set_timestep_spacing(v1::Sampler::TIMESTEP_SPACING_LEADING);
       },
       "sampler.timesteps",
       {"leading"}},
      {"ascending times",
       [](S* m) {
         for (const float t : {50.0f, 60.0f}) m->mutable_sampler()->add_timesteps(t);
       },
       "sampler.timesteps[1]",
       {"60", "descending"}},
      {"time T",
       [](S* m) { m->mutable_sampler()->add_timesteps(100); },
       "sampler.timesteps[0]",
       {"100", "0..99"}},
      {"time NaN",
       [](S* m) { m->mutable_sampler()->add_timesteps(kNan); },
       "sampler.timesteps[0]",
       {"nan"}},
      {"more times than T",
       [](S* m) {
         for (int i = 0; i < 101; ++i) {
           m->mutable_sampler()->add_timesteps(99 - 0.5f * static_cast<float>(i));
         }
       },
       "sampler.timesteps",
       {"101", "100"}},
      {"fractional times for DDPM",
       [](S* m) { m->mutable_sampler()->add_timesteps(50.5f); },
       "sampler.timesteps[0]",
       {"50.5", "whole"}},
      {"fractional times for a model of whole ones",
       [](S* m) {
         m->mutable_sampler()->set_kind(v1::Sampler::KIND_EULER);
         m->mutable_sampler()->add_timesteps(50.5f);
       },
       "sampler.timesteps",
       {"no integers", "\"whole\"", "choose others"},
       WholeTimes()},
      {"a sampler of fractional times for a model of whole ones",
       [](S* m) {
         m->mutable_sampler()->set_kind(v1::Sampler::KIND_EULER);
         m->mutable_sampler()->set_steps(7);
       },
       "sampler",
       {"no integers", "another sampler"},
       WholeTimes()},
      {"unknown kind",
       [](S* m) { m->mutable_sampler()->set_kind(v1::Sampler::Kind(99)); },
       "sampler.kind",
       {"99", "KIND_DEIS (12)"}},
      {"negative kind",
       [](S* m) { m->mutable_sampler()->set_kind(v1::Sampler::Kind(-7)); },
       "sampler.kind",
       {"-7"}},
      {"unknown spacing",
       [](S* m) { m->mutable_sampler()->set_timestep_spacing(v1::Sampler::TimestepSpacing(4)); },
       "sampler.timestep_spacing",
       {"4", "TIMESTEP_SPACING_LEADING (1)"}},
      {"unknown sigmas",
       [](S* m) {
         m->mutable_sampler()->set_kind(v1::Sampler::KIND_EULER);
         m->mutable_sampler()->set_sigmas(v1::Sampler::Sigmas(9));
       },
       "sampler.sigmas",
       {"9", "SIGMAS_KARRAS (2)"}},
      {"sigmas for DDIM",
       [](S* m) {
         m->mutable_sampler()->set_kind(v1::Sampler::KIND_DDIM);
         m->mutable_sampler()->set_sigmas(v1::Sampler::SIGMAS_KARRAS);
       },
       "sampler.sigmas",
       {"ddim"}},
      {"unknown variance",
       [](S* m) { m->mutable_sampler()->set_variance(v1::Sampler::Variance(12)); },
       "sampler.variance",
       {"12", "VARIANCE_LEARNED_RANGE (4)"}},
      {"learned variance",
       [](S* m) { m->mutable_sampler()->set_variance(v1::Sampler::VARIANCE_LEARNED); },
       "sampler.variance",
       {"learned"}},
      {"eta out of range",
       [](S* m) {
         m->mutable_sampler()->set_kind(v1::Sampler::KIND_DDIM);
         m->mutable_sampler()->set_eta(1.5f);
       },
       "sampler.eta",
       {"1.5", "0..1"}},
      {"eta NaN", [](S* m) { m->mutable_sampler()->set_eta(kNan); }, "sampler.eta", {"nan"}},
      {"clip range",
       [](S* m) { m->mutable_sampler()->set_clip_sample_range(kInf); },
       "sampler.clip_sample_range",
       {"inf"}},
      {"noise of another shape",
       [](S* m) {
         *m->mutable_initial_noise() = Values({1, 1, 3, 2});
       },
       "initial_noise.shape",
       {"[1, 1, 3, 2]", "[1, 1, 2, 3]"}},
      {"noise for fewer samples",
       [](S* m) {
         m->set_num_samples(2);
         *m->mutable_initial_noise() = Values({1, 1, 2, 3});
       },
       "initial_noise.shape",
       {"[1, 1, 2, 3]", "[2, 1, 2, 3]"}},
      {"an empty tensor as noise",
       [](S* m) { m->mutable_initial_noise(); },
       "initial_noise.dtype",
       {"0", "FLOAT32"}},
      {"NaN in noise",
       [](S* m) {
         *m->mutable_initial_noise() = Values({1, 1, 2, 3}, kNan);
       },
       "initial_noise.data",
       {"nan"}},
      {"1e38 in noise",
       [](S* m) {
         *m->mutable_initial_noise() = Values({1, 1, 2, 3}, 1e38f);
       },
       "initial_noise.data",
       {"1e+38", "-1000..1000"}},
      {"step past the end",
       [](S* m) { m->mutable_states()->add_steps(21); },
       "states.steps[0]",
       {"21", "0..20"}},
      {"more steps than states",
       [](S* m) {
         for (int i = 0; i < 22; ++i) m->mutable_states()->add_steps(1);
       },
       "states.steps",
       {"22", "21"}},
      {"unknown content",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->add_content(v1::Content(3));
       },
       "states.content[0]",
       {"3", "CONTENT_X_T (1)"}},
      {"unspecified content",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->add_content(v1::CONTENT_X_T);
         m->mutable_states()->add_content(v1::CONTENT_UNSPECIFIED);
       },
       "states.content[1]",
       {"0"}},
      {"content twice",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->add_content(v1::CONTENT_X_T);
         m->mutable_states()->add_content(v1::CONTENT_X_T);
       },
       "states.content[1]",
       {"1", "twice"}},
      {"content without steps",
       [](S* m) { m->mutable_states()->add_content(v1::CONTENT_X_T); },
       "states.content",
       {"1 given", "states.every_n_steps"}},
      {"unknown state encoding",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->set_encoding(v1::Encoding(9));
       },
       "states.encoding",
       {"9", "ENCODING_PNG (2)"}},
      {"PNG states without steps",
       [](S* m) { m->mutable_states()->set_encoding(v1::ENCODING_PNG); },
       "states.encoding",
       {"ENCODING_PNG", "states.every_n_steps"}},
      {"PNG states without content",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->set_encoding(v1::ENCODING_PNG);
       },
       "states.encoding",
       {"ENCODING_PNG", "states.content"}},
      {"unknown encoding", [](S* m) { m->set_encoding(v1::Encoding(-1)); }, "encoding", {"-1"}},
      {"PNG of 4 channels",
       [](S* m) { m->set_encoding(v1::ENCODING_PNG); },
       "encoding",
       {"4", "1 or 3", "ENCODING_RAW"},
       Latent()},
      {"PNG states of 4 channels",
       [](S* m) {
         m->mutable_states()->set_every_n_steps(1);
         m->mutable_states()->add_content(v1::CONTENT_X_T);
         m->mutable_states()->set_encoding(v1::ENCODING_PNG);
       },
       "states.encoding",
       {"4", "1 or 3"},
       Latent()},
  };
  return *cases;
}

TEST_F(RequestValidatorTest, BadSampleRequestsAreToldFieldValueAndMend) {
  ExpectRefused(S(), BadSamples());
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

TEST_F(RequestValidatorTest, BadDiffuseRequestsAreToldFieldValueAndMend) {
  const std::vector<Bad<D>> cases = {
      {"no x_0", [](D* m) { m->clear_x_0(); }, "x_0", {"missing", "[n, C, H, W]"}},
      {"wrong shape",
       [](D* m) {
         *m->mutable_x_0() = Values({1, 2, 3});
       },
       "x_0.shape",
       {"[1, 2, 3]", "[n, 1, 2, 3]"}},
      {"no samples",
       [](D* m) {
         *m->mutable_x_0() = Values({0, 1, 2, 3});
       },
       "x_0.shape",
       {"[0, 1, 2, 3]"}},
      {"too many samples",
       [](D* m) {
         *m->mutable_x_0() = Values({65, 1, 2, 3});
       },
       "x_0.shape",
       {"65", "64"}},
      {"NaN",
       [](D* m) {
         *m->mutable_x_0() = Values({1, 1, 2, 3}, kNan);
       },
       "x_0.data",
       {"nan"}},
      {"out of the model's range",
       [](D* m) {
         *m->mutable_x_0() = Values({1, 1, 2, 3}, 1.6f);
       },
       "x_0.data",
       {"1.6", "-1.5..1.5"}},
      {"no timesteps", [](D* m) { m->clear_timesteps(); }, "timesteps", {}},
      {"timestep T", [](D* m) { m->add_timesteps(100); }, "timesteps", {"100", "99"}},
      {"timestep 2^32-1", [](D* m) { m->add_timesteps(kMaxUint32); }, "timesteps", {"4294967295"}},
      {"a timestep twice", [](D* m) { m->set_timesteps(1, 99); }, "timesteps", {"99"}},
      {"descending", [](D* m) { m->set_timesteps(1, 0); }, "timesteps", {"0"}},
      {"too many",
       [](D* m) {
         for (int i = 0; i < 1000; ++i) m->add_timesteps(i);
       },
       "timesteps",
       {"1003", "100"}},
      {"unknown encoding", [](D* m) { m->set_encoding(v1::Encoding(3)); }, "encoding", {"3"}},
  };
  D message = GoodDiffuse();
  for (const bool chain : {false, true}) {
    message.set_chain(chain);
    ExpectRefused(message, cases);
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
