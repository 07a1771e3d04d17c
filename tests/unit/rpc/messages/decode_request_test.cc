// Requests for what a decoder makes of samples, and the messages that it is sent in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/rpc/messages/event_encoder.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/messages/request_validator.h"
#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kLatent = 4 * 2 * 3;  // values
constexpr int64_t kDecoded = 3 * 4 * 6;

using DecodeRequestTest = ValidatorTest;

// Of any kind, of x_t at every step.
v1::SampleRequest WithStates() {
  return Proto<v1::SampleRequest>("states { every_n_steps: 1 content: CONTENT_X_T }");
}

ModelInfo WithDecoderOf(int64_t channels) {
  ModelInfo model = WithDecoder();
  model.decoder->format.shape.channels = channels;
  return model;
}

TEST_F(DecodeRequestTest, NothingIsDecodedUnasked) {
  const auto validated = Validate(WithStates(), WithDecoder());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_FALSE(validated->request.decode);
  EXPECT_FALSE(validated->request.states.decode);
  EXPECT_EQ(validated->request.values_per_result(), kLatent);
}

TEST_F(DecodeRequestTest, ResultAndStatesEachByThemselves) {
  v1::SampleRequest message = WithStates();
  message.set_decode(true);
  auto validated = Validate(message, WithDecoder());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_TRUE(validated->request.decode);
  EXPECT_FALSE(validated->request.states.decode);
  EXPECT_EQ(validated->request.values_per_result(), kDecoded);

  message.set_decode(false);
  message.mutable_states()->set_decode(true);
  validated = Validate(message, WithDecoder());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_FALSE(validated->request.decode);
  EXPECT_TRUE(validated->request.states.decode);
}

TEST_F(DecodeRequestTest, PicturesAreDecodedInAnyCase) {
  v1::SampleRequest message = WithStates();
  message.set_encoding(v1::ENCODING_PNG);
  message.mutable_states()->set_encoding(v1::ENCODING_PNG);
  const auto validated = Validate(message, WithDecoder());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_TRUE(validated->request.decode);
  EXPECT_TRUE(validated->request.states.decode);

  v1::DiffuseRequest diffuse;
  *diffuse.mutable_x_0() = Values({1, 4, 2, 3});
  diffuse.add_timesteps(5);
  EXPECT_FALSE(Validate(diffuse, WithDecoder())->request.states.decode);
  diffuse.set_encoding(v1::ENCODING_PNG);
  EXPECT_TRUE(Validate(diffuse, WithDecoder())->request.states.decode);
}

TEST_F(DecodeRequestTest, BadRequestsAreToldFieldValueAndFix) {
  const std::vector<Bad> cases = {
      {"decode: true", "decode", {"true", "\"digits\" has no decoder", "leave it out"}},
      {"states { decode: true }", "states.decode", {"true", "has no decoder", "leave it out"}},
      {"encoding: ENCODING_PNG",
       "encoding",
       {"1 or 3", "decoded samples of \"latent\" have 2", "ENCODING_RAW"},
       WithDecoderOf(2)},
      {"states { encoding: ENCODING_PNG }",
       "states.encoding",
       {"decoded samples of \"latent\" have 5"},
       WithDecoderOf(5)},
      {Text("initial_noise", Values({1, 3, 4, 6})),
       "initial_noise.shape",
       {"[1, 3, 4, 6]", "4, 2, 3]"},
       WithDecoder()},
  };
  ExpectRefused(WithStates(), cases);
  ExpectRefused(v1::SampleRequest(), {{"states { decode: true }",
                                       "states.decode",
                                       {"true", "set states.every_n_steps"},
                                       WithDecoder()},
                                      {"states { every_n_steps: 1 decode: true }",
                                       "states.decode",
                                       {"true", "set states.content"},
                                       WithDecoder()}});
}

TEST_F(DecodeRequestTest, AnswersAreMeasuredAsDecoded) {
  v1::SampleRequest message;
  message.set_num_samples(10);
  limits_.max_message_bytes = 10 * kDecoded * sizeof(float);  // and a header's worth too little
  EXPECT_TRUE(Validate(message, WithDecoder()).ok());
  message.set_decode(true);
  const auto refused = Validate(message, WithDecoder());
  EXPECT_EQ(FieldOf(refused.status()), "num_samples");
}

TEST_F(DecodeRequestTest, MessagesHaveTheDecodedShapeAndRange) {
  v1::SampleRequest message = WithStates();
  message.set_decode(true);
  message.mutable_states()->set_decode(true);
  auto validated = Validate(message, WithDecoder());
  ASSERT_TRUE(validated.ok()) << validated.status();
  StateEvent state;
  state.content = Content::kXt;
  state.values.assign(kDecoded, 0.5f);
  v1::SampleEvent event;
  ASSERT_TRUE(EncodeEvent(validated->request, {}, state, &event).ok());
  EXPECT_THAT(event.state().tensor().shape(), ElementsAre(1, 3, 4, 6));
  ResultEvent result;
  result.samples.assign(kDecoded, 0.5f);
  event.Clear();
  ASSERT_TRUE(EncodeEvent(validated->request, {}, result, &event).ok());
  EXPECT_THAT(event.result().samples().shape(), ElementsAre(1, 3, 4, 6));

  message.mutable_states()->set_encoding(v1::ENCODING_PNG);
  validated = Validate(message, WithDecoder());
  // The decoder's 0 and below is black, whatever the latents' range is.
  state.values.assign(kDecoded, 0.f);
  event.Clear();
  ASSERT_TRUE(EncodeEvent(validated->request, validated->encodings, state, &event).ok());
  const std::string black = event.state().png();
  state.values.assign(kDecoded, -1.f);
  event.Clear();
  ASSERT_TRUE(EncodeEvent(validated->request, validated->encodings, state, &event).ok());
  EXPECT_EQ(event.state().png(), black);
  // IHDR: width and height.
  ASSERT_GT(black.size(), 24u);
  EXPECT_EQ(black[19], 6);
  EXPECT_EQ(black[23], 4);
}

TEST(ModelWithDecoderTest, SaysSo) {
  v1::Model message;
  EncodeModel({Shared(WithDecoder()), ModelStatus::kServing}, &message);
  EXPECT_TRUE(message.has_decoder());
  EXPECT_THAT(message.decoded_shape(), ElementsAre(3, 4, 6));
  EXPECT_EQ(message.decoded_value_min(), 0);
  EXPECT_EQ(message.decoded_value_max(), 1);
  message.Clear();
  EncodeModel({Shared(TestModel()), ModelStatus::kServing}, &message);
  EXPECT_FALSE(message.has_decoder());
  EXPECT_THAT(message.decoded_shape(), IsEmpty());
}

}  // namespace
}  // namespace denoise
