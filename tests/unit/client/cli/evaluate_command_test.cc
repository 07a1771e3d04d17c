#include "client/cli/evaluate_command.h"

#include <utility>

#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/npy.h"
#include "tests/unit/client/cli/cli_fixture.h"
#include "tests/unit/client/cli/parse_flags.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Script;

std::string Parse(EvaluateFlags* flags, std::vector<std::string> arguments) {
  return ParseFlags(&AddEvaluateFlags, flags, std::move(arguments));
}

TEST(EvaluateFlagsTest, EverythingArrives) {
  EvaluateFlags flags;
  EXPECT_EQ(Parse(&flags, {"--class", "7,3", "--condition", "text=t.npy", "a.png", "b.npy",
                           "--timesteps", "50", "--no-clip", "--seed", "5", "--per-timestep",
                           "--json", "--model", "digits", "--priority", "5"}),
            "");
  EXPECT_THAT(flags.images, ElementsAre("a.png", "b.npy")) << "no list swallows them";
  EXPECT_THAT(flags.classes, ElementsAre(7, 3));
  EXPECT_EQ(flags.conditions.at(0).name, "text");
  EXPECT_EQ(flags.num_timesteps, 50u);
  EXPECT_EQ(flags.clip, false);
  EXPECT_EQ(flags.seed, 5u);
  EXPECT_TRUE(flags.per_timestep);
  EXPECT_TRUE(flags.common.json);
  EXPECT_EQ(flags.model.name, "digits");
  EXPECT_EQ(flags.priority, 5);
}

TEST(EvaluateFlagsTest, WhatIsRefusedIsNamed) {
  EvaluateFlags flags;
  EXPECT_THAT(Parse(&flags, {}), HasSubstr("FILE is required"));
  EXPECT_THAT(Parse(&flags, {"a.jpg"}), HasSubstr("'a.jpg' must end with .png or .npy"));
  EXPECT_THAT(Parse(&flags, {"a.png", "--timesteps", "1"}), HasSubstr("'1' is not a whole number"));
  EXPECT_NE(Parse(&flags, {"a.png", "--clip", "--no-clip"}), "");
}

// With a model of [1, 2, 3].
class EvaluateCommandTest : public CommandTest {
 protected:
  EvaluateCommandTest() {
    EXPECT_TRUE(WriteFile(Path("in.npy"), EncodeNpy({{2, 1, 2, 3}, std::vector<float>(12)})).ok());
    flags_.images = {Path("in.npy")};
    accepted_.model = "digits";
    accepted_.model_version = 3;
    accepted_.seed = 42;
    accepted_.timesteps = {900, 40, 0};
    accepted_.alpha_bars = {0.25f, 0.5f, 1};
    likelihood_ = {{1.25, 2.25}, {0.0625, 0.125}, {0.03, 0.05}};
    // Not in order, as they may come.
    Answer({accepted_, Term{0, {0.5, 1.5}, {0.1, 0.3}, {0.2, 0.4}},
            Term{900, {0.001, 0.003}, {0.5, 0.5}, {0.25, 0.75}},
            Term{40, {0.25, 0.75}, {0.125, 0.125}, {1, 3}}, likelihood_});
  }

  void Answer(std::vector<EvaluateEvent> events, const absl::Status& status = absl::OkStatus()) {
    server_->on_evaluate = [=, this](const EvaluateRequest& request, const CallOptions&) {
      request_ = request;
      return Script<EvaluateEvent>{.events = events, .status = status};
    };
  }
  int Run() { return RunEvaluate(flags_, client_, console_, interrupt_); }

  EvaluateFlags flags_;
  EvaluateRequest request_;
  Accepted accepted_;
  Likelihood likelihood_;
};

TEST_F(EvaluateCommandTest, TellsEverySampleAndTheMean) {
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_EQ(out_.str(),
            "2 samples under digits version 3, 3 terms, seed 42\n"
            "sample  bits/dim  standard error     prior\n"
            "     0    1.2500          0.0300  0.062500\n"
            "     1    2.2500          0.0500  0.125000\n"
            "  mean    1.7500                  0.093750\n");
  EXPECT_THAT(err_.str(), HasSubstr("term 3/3")) << "progress while terms come";
}

TEST_F(EvaluateCommandTest, TellsTermsByTimestep) {
  flags_.per_timestep = true;
  console_.quiet = true;
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("     t    bits/dim     eps mse     x_0 mse\n"
                                    "   900       0.002         0.5         0.5\n"
                                    "    40         0.5       0.125           2\n"
                                    "     0           1         0.2         0.3\n"));
  EXPECT_EQ(err_.str(), "");
}

TEST_F(EvaluateCommandTest, JsonIsOneDocumentWithAllTerms) {
  console_.json = true;
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["model"], "digits");
  EXPECT_EQ(document["seed"], 42);
  EXPECT_EQ(document["shape"], nlohmann::json({2, 1, 2, 3}));
  EXPECT_EQ(document["mean_bits_per_dim"], 1.75);
  EXPECT_EQ(document["total_bits_per_dim"], nlohmann::json({1.25, 2.25}));
  EXPECT_EQ(document["prior_bits_per_dim"], nlohmann::json({0.0625, 0.125}));
  EXPECT_EQ(document["standard_error"], nlohmann::json({0.03, 0.05}));
  ASSERT_EQ(document["terms"].size(), 3u);
  EXPECT_EQ(document["terms"][1]["timestep"], 40) << "descending";
  EXPECT_EQ(document["terms"][1]["bits_per_dim"], nlohmann::json({0.25, 0.75}));
  EXPECT_EQ(document["terms"][1]["eps_mse"], nlohmann::json({0.125, 0.125}));
  EXPECT_EQ(document["terms"][1]["x_0_mse"], nlohmann::json({1.0, 3.0}));
}

TEST_F(EvaluateCommandTest, TheRequestIsWhatTheFlagsSay) {
  ASSERT_TRUE(WriteFile(Path("in.png"), EncodePng({3, 2, 1, {0, 255, 0, 255, 0, 255}})).ok());
  ASSERT_TRUE(WriteFile(Path("t.npy"), NpyFile("<i8", "(1, 1)", std::string(8, '\1'))).ok());
  flags_.images = {Path("in.png"), Path("in.npy")};
  flags_.classes = {7};
  flags_.conditions = {{"tokens", Path("t.npy")}};
  flags_.num_timesteps = 50;
  flags_.clip = true;
  flags_.seed = 9;
  flags_.priority = -3;
  flags_.model.name = "digits";
  flags_.model.version = model_.version = 3;
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_EQ(request_.model, "digits");
  EXPECT_EQ(request_.model_version, 3);
  EXPECT_THAT(request_.x_0.shape, ElementsAre(3, 1, 2, 3));
  EXPECT_EQ(request_.x_0.values[1], 1);
  EXPECT_EQ(request_.x_0.values[6], 0);
  EXPECT_THAT(request_.class_labels, ElementsAre(7));
  EXPECT_EQ(request_.conditions["tokens"].dtype(), DataType::kInt64);
  EXPECT_EQ(request_.num_timesteps, 50u);
  EXPECT_EQ(request_.priority, -3);
  EXPECT_EQ(request_.clip_sample, true);
  EXPECT_EQ(request_.seed, 9u);
}

TEST_F(EvaluateCommandTest, FilesThatDoNotFit) {
  flags_.images = {Path("none.png")};
  EXPECT_EQ(Run(), EX_NOINPUT);
  ASSERT_TRUE(WriteFile(Path("wide.png"), EncodePng({4, 1, 1, {0, 0, 0, 0}})).ok());
  flags_.images = {Path("wide.png")};
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("it is 4x1, and samples of 'digits' are 3x2: resize it"));
}

TEST_F(EvaluateCommandTest, AnErrorIsToldAndItsCodeGiven) {
  Answer({accepted_}, absl::InvalidArgumentError("model is a flow model"));
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("denoise: model is a flow model\n"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("bits/dim")));
}

TEST_F(EvaluateCommandTest, AnInterruptCancels) {
  server_->on_evaluate = [](auto&&...) { return Script<EvaluateEvent>{.hold = true}; };
  EXPECT_EQ(RunAndInterrupt([this] { return Run(); }), 130);
  EXPECT_EQ(server_->cancelled(), 1);
  EXPECT_THAT(err_.str(), HasSubstr("cancelled, on the server too"));
}

}  // namespace
}  // namespace denoise::cli
