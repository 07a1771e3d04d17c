// The decoder of latent models: what is served, what is refused, and what it makes of latents.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "server/model/folder/model_files.h"
#include "tests/unit/model/chain/executor_fixture.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Field;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Not;

class DecoderRefusalTest
    : public ::testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

TEST_P(DecoderRefusalTest, GivesTheReasonAndTheMendInOneLine) {
  const auto& [name, reason, fix] = GetParam();
  const auto model = ServeTestModel(name);
  ASSERT_FALSE(model.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(model.status())) << model.status();
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr(name), HasSubstr("decoder.pt"), HasSubstr(reason), HasSubstr(fix),
                    Not(HasSubstr("\n"))));
}

INSTANTIATE_TEST_SUITE_P(
    Models, DecoderRefusalTest,
    ::testing::Values(
        std::tuple("latent_coupled", "changes by", "call eval()"),
        std::tuple("latent_random", "two equal calls gave different answers", "must not"),
        std::tuple("latent_flat", "answers [1, 24] for 1 sample of [2, 3, 4]", "[1, C, H, W]"),
        std::tuple("latent_not_finite", "not finite", "division by zero"),
        std::tuple("latent_integers", "answers Long", "add .float()"),
        std::tuple("latent_two_arguments", "takes 2 arguments, where forward(latents)",
                   "export a module with that signature"),
        std::tuple("latent_other", "forward failed for 1 sample of [2, 3, 4]",
                   "correct model.json's sample_shape"),
        std::tuple("latent_no_module", "is no TorchScript module", "copy it whole")),
    [](const auto& info) { return std::string(std::get<0>(info.param)); });

TEST(DecoderTest, IsExaminedAndDescribed) {
  const auto model = ServeTestModel("latent");
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = *(*model)->info();
  ASSERT_TRUE(info.decoder.has_value());
  EXPECT_EQ(info.decoder->format.shape.channels, 3);
  EXPECT_EQ(info.decoder->format.shape.height, 6);
  EXPECT_EQ(info.decoder->format.shape.width, 8);
  EXPECT_EQ(info.decoder->format.value_min, 0);
  EXPECT_EQ(info.decoder->format.value_max, 4);
  EXPECT_EQ(info.decoder->max_rows, 16);
  EXPECT_EQ(info.decoder->sha256.size(), 64u);
  EXPECT_EQ(info.value_min, -1) << "of latents";
  EXPECT_THAT((*model)->report().tests,
              Contains(Field(&TestResult::result, HasSubstr("answers 3 x 6 x 8"))));
  EXPECT_FALSE((*ServeTestModel("formula"))->info()->decoder.has_value());
}

TEST(DecoderTest, LargePicturesAndBitsThatMustNotDependOnCompanyAreDecodedOneByOne) {
  EXPECT_EQ((*ServeTestModel("latent_large"))->info()->decoder->max_rows, 1);
  EXPECT_EQ((*ServeTestModel("latent_net", {.batch_sizes = {1, 2}, .batch_invariant = true}))
                ->info()
                ->decoder->max_rows,
            1);
  // Alone, a sum over the batch does no harm.
  EXPECT_TRUE(
      ServeTestModel("latent_coupled", {.batch_sizes = {1, 2}, .batch_invariant = true}).ok());
}

TEST(DecoderTest, MakesWhatItsForwardDoes) {
  Fixture f("latent");
  ASSERT_NE(f.executor, nullptr);
  const std::vector<float> decoded = DecodedBy(*f.executor);
  ASSERT_EQ(decoded.size(), 2u * 3 * 48);
  for (int c = 0; c < 3; ++c) {
    const auto channel = [&](int i) {
      const float* begin = &decoded[(i * 3 + c) * 48];
      return std::vector<float>(begin, begin + 48);
    };
    EXPECT_THAT(channel(0), Each(FloatEq(1.f + c)));
    EXPECT_THAT(channel(1), Each(FloatEq(-2.f + c)));
  }
}

TEST(DecoderTest, AnswersInTuplesAndInHalfPrecisionAreTaken) {
  Fixture tuple("latent_tuple");
  ASSERT_NE(tuple.executor, nullptr);
  EXPECT_EQ(DecodedBy(*tuple.executor)[0], 0.5f);
  Fixture half("latent_half");
  ASSERT_NE(half.executor, nullptr);
  EXPECT_THAT(DecodedBy(*half.executor), Each(Not(0)));
}

TEST(DecoderTest, FailuresAreToldApart) {
  Fixture f("latent");
  ASSERT_NE(f.executor, nullptr);
  std::vector<float> latents(2 * 24, 0.5f), out(2 * 144);
  const DecodeTask tasks[] = {{latents.data(), out.data()},
                              {latents.data() + 24, out.data() + 144}};
  bool finite[2] = {false, false};
  latents[24] = 4321;
  ASSERT_TRUE(f.executor->Decode(tasks, absl::MakeSpan(finite)).ok());
  EXPECT_TRUE(finite[0]);
  EXPECT_FALSE(finite[1]);
  latents[24] = 1234;
  const absl::Status thrown = f.executor->Decode(tasks, absl::MakeSpan(finite));
  EXPECT_TRUE(absl::IsInternal(thrown));
  EXPECT_THAT(std::string(thrown.message()), HasSubstr("latents begin with 1234"));
  latents[24] = 5678;
  EXPECT_TRUE(absl::IsResourceExhausted(f.executor->Decode(tasks, absl::MakeSpan(finite))));
  // And then goes on as before.
  latents[24] = 0.5f;
  ASSERT_TRUE(f.executor->Decode(tasks, absl::MakeSpan(finite)).ok());
  EXPECT_TRUE(finite[0] && finite[1]);
}

TEST(DecoderTest, MoreThanACallHoldsIsAnError) {
  Fixture f("latent_large");
  ASSERT_NE(f.executor, nullptr);
  const std::vector<DecodeTask> tasks(2);
  bool finite[2];
  EXPECT_TRUE(absl::IsInternal(f.executor->Decode(tasks, absl::MakeSpan(finite))));
  Fixture none("formula");
  EXPECT_TRUE(absl::IsInternal(none.executor->Decode({tasks.data(), 1}, {finite, 1})));
}

}  // namespace
}  // namespace denoise
