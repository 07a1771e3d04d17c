#include "client/cli/sample_command.h"

#include <cmath>
#include <csignal>

#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/npy.h"
#include "tests/unit/client/cli/cli_fixture.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Script;

State MakeState(uint32_t sample, uint32_t step, float value, Content content = Content::kXt) {
  State state;
  state.sample_index = sample;
  state.step = step;
  state.total_steps = 2;
  state.timestep = 10.0f - static_cast<float>(step);
  state.alpha_bar = 0.25f;
  state.content = content;
  state.tensor = {{1, 1, 2, 3}, std::vector<float>(6, value)};
  return state;
}

class SampleCommandTest : public CommandTest {
 protected:
  SampleCommandTest() {
    flags_.num_samples = 2;
    accepted_.model = "digits";
    accepted_.seed = 42;
    accepted_.total_steps = 2;
    accepted_.timesteps = {999, 499};
    accepted_.alpha_bars = {0, 0.5f, 1};
    result_.samples.shape = {2, 1, 2, 3};
    result_.samples.values = {-1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0, 0};
    result_.denoiser_rows = 4;
  }

  void Answer(std::vector<Event> events, const absl::Status& status = absl::OkStatus()) {
    server_->on_sample = [=, this](const SampleRequest& request, const CallOptions&) {
      request_ = request;
      return Script<Event>{.events = events, .status = status};
    };
  }
  // Accepted, x_T and x_0 of both samples, Result.
  void AnswerChain() {
    Answer({accepted_, MakeState(0, 0, -1), MakeState(1, 0, 1), MakeState(0, 2, 0),
            MakeState(1, 2, 1), result_});
  }
  int Run() { return RunSample(flags_, client_, console_, interrupt_); }

  SampleFlags flags_;
  SampleRequest request_;
  Accepted accepted_;
  Result result_;
};

TEST_F(SampleCommandTest, WritesAGrid) {
  AnswerChain();
  flags_.out = Path("x.png");
  flags_.scale = 1;
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto picture = DecodePng(*ReadFile(flags_.out), 1);
  ASSERT_TRUE(picture.ok());
  EXPECT_EQ(picture->width, 3 + 2 + 3);
  EXPECT_EQ(picture->height, 2);
  EXPECT_THAT(picture->pixels, ElementsAre(0, 0, 0, 64, 64, 255, 255, 255,  //
                                           128, 128, 128, 64, 64, 128, 128, 128));
  EXPECT_THAT(out_.str(), HasSubstr("2 samples of digits"));
  EXPECT_THAT(out_.str(), HasSubstr("seed 42"));
  EXPECT_THAT(out_.str(), HasSubstr("wrote " + flags_.out));
  EXPECT_THAT(err_.str(), HasSubstr("step 2/2"));
}

TEST_F(SampleCommandTest, WritesNumbers) {
  AnswerChain();
  flags_.out = Path("x.npy");
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto tensor = DecodeNpy(*ReadFile(flags_.out));
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->shape, result_.samples.shape);
  EXPECT_EQ(tensor->values, result_.samples.values);
}

// The model's samples are latents of another shape, and what comes is what they are decoded to.
TEST_F(SampleCommandTest, DecodesWhatItDraws) {
  model_.sample_shape = {4, 1, 1};
  model_.has_decoder = true;
  model_.decoded_shape = {1, 2, 3};
  model_.decoded_value_min = -1;
  model_.decoded_value_max = 1;
  AnswerChain();
  flags_.out = Path("x.png");
  flags_.animate = Path("x.gif");
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_TRUE(request_.decode);
  EXPECT_TRUE(request_.states.decode);
}

TEST_F(SampleCommandTest, NumbersAreLatentsUnlessDecodeIsSaid) {
  model_.has_decoder = true;
  model_.decoded_shape = {3, 20, 20};
  model_.decoded_value_max = 1;
  AnswerChain();  // in the latents' shape
  flags_.out = Path("x.npy");
  flags_.states = Path("s.npy");
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_FALSE(request_.decode);
  EXPECT_FALSE(request_.states.decode);
  flags_.decode = true;
  EXPECT_NE(Run(), 0);
  EXPECT_TRUE(request_.decode);
  EXPECT_TRUE(request_.states.decode);
  EXPECT_THAT(err_.str(), HasSubstr("shape is not that of the model"));
}

TEST_F(SampleCommandTest, LatentsAreNoPicturesToBeginFrom) {
  model_.has_decoder = true;
  model_.decoded_shape = {1, 2, 3};
  model_.decoded_value_max = 1;
  flags_.images = {Path("i.png")};
  ASSERT_TRUE(
      WriteFile(flags_.images[0],
                EncodePng({.width = 3, .height = 2, .channels = 1, .pixels = {0, 0, 0, 0, 0, 0}}))
          .ok());
  EXPECT_NE(Run(), 0);
  EXPECT_THAT(err_.str(), HasSubstr("are latents"));
}

TEST_F(SampleCommandTest, WritesStatesWithHolesWhereOneWasLost) {
  Answer({accepted_, MakeState(0, 0, 3), MakeState(1, 2, 5, Content::kPredictedX0), result_});
  flags_.states = Path("s.npy");
  flags_.content = {Content::kXt, Content::kPredictedX0};
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto tensor = DecodeNpy(*ReadFile(flags_.states));
  ASSERT_TRUE(tensor.ok());
  EXPECT_THAT(tensor->shape, ElementsAre(2, 2, 2, 1, 2, 3));
  EXPECT_EQ(tensor->values[0], 3);             // step 0, x_t, sample 0
  EXPECT_TRUE(std::isnan(tensor->values[6]));  // step 0, x_t, sample 1
  EXPECT_EQ(tensor->values[24 + 12 + 6], 5);   // step 2, x_0, sample 1
}

TEST_F(SampleCommandTest, Animates) {
  AnswerChain();
  flags_.animate = Path("x.png");
  flags_.scale = 1;
  flags_.common.json = console_.json = true;
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto first = DecodePng(*ReadFile(flags_.animate), 1);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->pixels[0], 0) << "x_T of sample 0";
  EXPECT_EQ(first->pixels[5], 255) << "x_T of sample 1";
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["frames"], 2);
  EXPECT_EQ(document["animation"], flags_.animate);
  EXPECT_EQ(document["steps"][1]["step"], 2);
}

TEST_F(SampleCommandTest, JsonIsOneDocument) {
  AnswerChain();
  console_.json = true;
  result_.timing.total = absl::Milliseconds(1500);
  AnswerChain();
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["seed"], 42);
  EXPECT_EQ(document["shape"], nlohmann::json({2, 1, 2, 3}));
  EXPECT_EQ(document["timing"]["total_seconds"], 1.5);
  EXPECT_EQ(document["timing"]["first_state_seconds"], nullptr);
  EXPECT_EQ(document["denoiser_rows"], 4);
}

TEST_F(SampleCommandTest, DrawsWhereItCan) {
  AnswerChain();
  console_.out_is_terminal = console_.true_color = true;
  EXPECT_EQ(Run(), 0);
  EXPECT_THAT(out_.str(), HasSubstr("\x1b[38;2;255;255;255m"));
  out_.str("");
  flags_.no_preview = true;
  EXPECT_EQ(Run(), 0);
  EXPECT_THAT(out_.str(), Not(HasSubstr("\x1b")));
}

TEST_F(SampleCommandTest, ASampleWiderThanTheTerminalIsNotDrawn) {
  AnswerChain();
  console_.out_is_terminal = console_.true_color = true;
  console_.columns = 2;
  EXPECT_EQ(Run(), 0);
  EXPECT_THAT(out_.str(), Not(HasSubstr("\x1b")));
}

TEST_F(SampleCommandTest, AnErrorIsToldAndItsCodeGiven) {
  Answer({accepted_}, absl::ResourceExhaustedError("the queue is full"));
  flags_.out = Path("x.png");
  EXPECT_EQ(Run(), EX_TEMPFAIL);
  EXPECT_THAT(err_.str(), HasSubstr("denoise: the queue is full\n"));
  EXPECT_EQ(out_.str(), "");
  EXPECT_TRUE(CommandTest::IsEmpty()) << "no file is left";
}

TEST_F(SampleCommandTest, AnErrorAsJson) {
  Answer({}, absl::InvalidArgumentError("class_labels is 12"));
  console_.json = true;
  EXPECT_EQ(Run(), EX_DATAERR);
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(document["error"]["message"], "class_labels is 12");
}

TEST_F(SampleCommandTest, AnErrorThatHoldsControlCharactersOrNoText) {
  Answer({}, absl::InternalError("a\x1b[31m\xff"));
  console_.json = true;
  EXPECT_EQ(Run(), EX_SOFTWARE);
  EXPECT_THAT(err_.str(), Not(HasSubstr("\x1b")));
  EXPECT_FALSE(nlohmann::json::parse(out_.str()).is_discarded());
}

TEST_F(SampleCommandTest, UnwritableIsKnownBeforeTheServerIsAsked) {
  server_->models.clear();  // which would be another error
  flags_.out = Path("none/x.png");
  EXPECT_EQ(Run(), EX_CANTCREAT);
}

TEST_F(SampleCommandTest, NoiseThatIsNotThereOrNoArray) {
  flags_.initial_noise = Path("none.npy");
  EXPECT_EQ(Run(), EX_NOINPUT);
  ASSERT_TRUE(WriteFile(Path("bad.npy"), "hello").ok());
  flags_.initial_noise = Path("bad.npy");
  EXPECT_EQ(Run(), EX_DATAERR);
}

TEST_F(SampleCommandTest, NoiseIsSent) {
  AnswerChain();
  const Tensor noise{{2, 1, 2, 3}, std::vector<float>(12, 0.5f)};
  ASSERT_TRUE(WriteFile(Path("noise.npy"), EncodeNpy(noise)).ok());
  flags_.initial_noise = Path("noise.npy");
  EXPECT_EQ(Run(), 0);
  ASSERT_TRUE(request_.initial_noise.has_value());
  EXPECT_EQ(request_.initial_noise->values, noise.values);
}

TEST_F(SampleCommandTest, AnImageIsSentInTheModelsRange) {
  AnswerChain();
  ASSERT_TRUE(WriteFile(Path("a.png"), EncodePng({3, 2, 1, {0, 255, 0, 255, 255, 0}})).ok());
  flags_.images = {Path("a.png")};
  flags_.strength = 0.5f;
  EXPECT_EQ(Run(), 0) << err_.str();
  ASSERT_TRUE(request_.image_to_image.has_value());
  EXPECT_THAT(request_.image_to_image->image.shape, ElementsAre(1, 1, 2, 3));
  EXPECT_THAT(request_.image_to_image->image.values, ElementsAre(-1, 1, -1, 1, 1, -1));
  EXPECT_EQ(request_.image_to_image->strength, 0.5f);
  EXPECT_FALSE(request_.inpainting.has_value());
}

TEST_F(SampleCommandTest, AMaskedImageIsSent) {
  AnswerChain();
  ASSERT_TRUE(WriteFile(Path("a.png"), EncodePng({3, 2, 1, {0, 255, 0, 255, 255, 0}})).ok());
  ASSERT_TRUE(WriteFile(Path("m.png"), EncodePng({3, 2, 1, {255, 0, 0, 0, 0, 255}})).ok());
  flags_.inpaint = {Path("a.png")};
  flags_.mask = Path("m.png");
  flags_.jump_length = 4;
  flags_.jump_samples = 2;
  EXPECT_EQ(Run(), 0) << err_.str();
  ASSERT_TRUE(request_.inpainting.has_value());
  EXPECT_THAT(request_.inpainting->image.values, ElementsAre(-1, 1, -1, 1, 1, -1));
  EXPECT_THAT(request_.inpainting->mask.shape, ElementsAre(1, 1, 2, 3));
  EXPECT_THAT(request_.inpainting->mask.values, ElementsAre(1, 0, 0, 0, 0, 1));
  EXPECT_EQ(request_.inpainting->jump_length, 4u);
  EXPECT_EQ(request_.inpainting->jump_samples, 2u);
}

TEST_F(SampleCommandTest, ConditionsAreSentWithTheirTypes) {
  AnswerChain();
  ASSERT_TRUE(WriteFile(Path("t.npy"), NpyFile("<i8", "(1, 1)", std::string(8, '\1'))).ok());
  ASSERT_TRUE(WriteFile(Path("e.npy"), EncodeNpy({{1, 1}, {0.5f}})).ok());
  flags_.conditions = {{"tokens", Path("t.npy")}, {"embedding", Path("e.npy")}};
  flags_.negative_conditions = {{"embedding", Path("e.npy")}};
  EXPECT_EQ(Run(), 0) << err_.str();
  ASSERT_EQ(request_.conditions.size(), 2u);
  EXPECT_EQ(request_.conditions["tokens"].dtype(), DataType::kInt64);
  EXPECT_EQ(request_.conditions["embedding"].dtype(), DataType::kFloat32);
  EXPECT_EQ(request_.negative_conditions.count("embedding"), 1u);
}

TEST_F(SampleCommandTest, FilesThatDoNotFitAreNamedByTheirFlag) {
  ASSERT_TRUE(WriteFile(Path("wide.png"), EncodePng({4, 2, 1, {0, 0, 0, 0, 0, 0, 0, 0}})).ok());
  ASSERT_TRUE(WriteFile(Path("good.png"), EncodePng({3, 2, 1, {0, 0, 0, 0, 0, 0}})).ok());
  flags_.images = {Path("wide.png")};
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("--image '" + Path("wide.png") + "': it is 4x2"));
  flags_.images.clear();
  flags_.inpaint = {Path("good.png")};
  flags_.mask = Path("wide.png");
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("--mask '" + Path("wide.png") + "': it is 4x2"));
  flags_.mask = Path("none.png");
  EXPECT_EQ(Run(), EX_NOINPUT);
  flags_.inpaint.clear();
  flags_.conditions = {{"text", Path("good.png")}};
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("--condition '" + Path("good.png") + "'"));
}

TEST_F(SampleCommandTest, PicturesNeedOneOrThreeChannels) {
  model_.sample_shape = {4, 2, 3};
  flags_.out = Path("x.png");
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr(".npy"));
}

TEST_F(SampleCommandTest, ShapesThatAreNotTheModels) {
  Result other = result_;
  other.samples = {{2, 1, 1, 1}, {0, 0}};
  Answer({accepted_, other});
  EXPECT_EQ(Run(), EX_SOFTWARE);
  State state = MakeState(0, 1, 0);
  state.tensor = {{1, 3, 1, 2}, std::vector<float>(6)};
  Answer({accepted_, state, result_});
  flags_.animate = Path("x.gif");
  EXPECT_EQ(Run(), EX_SOFTWARE);
  EXPECT_TRUE(CommandTest::IsEmpty());
}

TEST_F(SampleCommandTest, AnInterruptCancels) {
  server_->on_sample = [](auto&&...) { return Script<Event>{.hold = true}; };
  flags_.out = Path("x.png");
  EXPECT_EQ(RunAndInterrupt([this] { return Run(); }), 130);
  EXPECT_EQ(server_->cancelled(), 1);
  EXPECT_THAT(err_.str(), HasSubstr("cancelled, on the server too"));
  EXPECT_TRUE(CommandTest::IsEmpty());
}

TEST(InterruptTest, CancelsOnceAndOnlyWhileThereIsSomething) {
  Interrupt interrupt;
  EXPECT_FALSE(interrupt.Trigger(SIGINT));
  EXPECT_EQ(interrupt.signal(), 0);
  int cancelled = 0;
  {
    const Interrupt::Scope scope(&interrupt, [&] { ++cancelled; });
    EXPECT_TRUE(interrupt.Trigger(SIGTERM));
    EXPECT_FALSE(interrupt.Trigger(SIGTERM));
  }
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(interrupt.signal(), SIGTERM);
}

}  // namespace
}  // namespace denoise::cli
