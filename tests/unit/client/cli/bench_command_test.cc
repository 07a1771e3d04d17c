#include "client/cli/load/bench_command.h"

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/picture.h"
#include "tests/unit/client/cli/cli_fixture.h"
#include "tests/unit/client/cli/parse_flags.h"
#include "tests/unit/client/simulated_server.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Parse(BenchFlags* flags, std::vector<std::string> arguments) {
  return ParseFlags(&AddBenchFlags, flags, std::move(arguments));
}

std::string Refusal(std::vector<std::string> arguments) {
  BenchFlags flags;
  return Parse(&flags, std::move(arguments));
}

TEST(BenchFlagsTest, EverythingArrives) {
  BenchFlags flags;
  EXPECT_EQ(Parse(&flags, {"--rate",    "12.5",           "--duration", "5s",          "--warm-up",
                           "0",         "--seed",         "7",          "--steps",     "10:3,50",
                           "--sampler", "ddim:2,heun",    "--class",    "7,3",         "--n",
                           "4",         "--guidance",     "2",          "--stream",    "--every",
                           "5",         "--slow-readers", "0.1/200ms",  "--histogram", "h.png",
                           "--json",    "--model",        "digits"}),
            "");
  EXPECT_EQ(flags.rate, 12.5);
  EXPECT_EQ(flags.duration, absl::Seconds(5));
  EXPECT_EQ(flags.warm_up, absl::ZeroDuration());
  EXPECT_EQ(flags.slow_pause, absl::Milliseconds(200));
  EXPECT_EQ(flags.histogram, "h.png");
  EXPECT_TRUE(flags.common.json);

  const WorkloadOptions options = MakeWorkloadOptions(flags, Model());
  EXPECT_EQ(options.seed, 7u);
  ASSERT_EQ(options.steps.size(), 2u);
  EXPECT_EQ(options.steps[0].value, 10u);
  EXPECT_EQ(options.steps[0].weight, 3);
  EXPECT_EQ(options.steps[1].weight, 1);
  ASSERT_EQ(options.samplers.size(), 2u);
  EXPECT_EQ(options.samplers[0].value, Sampler::Kind::kDdim);
  EXPECT_EQ(options.samplers[0].weight, 2);
  EXPECT_EQ(options.samplers[1].value, Sampler::Kind::kHeun);
  EXPECT_THAT(options.classes, ElementsAre(7, 3));
  EXPECT_EQ(options.slow_share, 0.1);
  EXPECT_EQ(options.request.model, "digits");
  EXPECT_EQ(options.request.num_samples, 4u);
  EXPECT_EQ(options.request.guidance_scale, 2);
  EXPECT_EQ(options.request.states.every_n_steps, 5u);
  EXPECT_THAT(options.request.states.content, ElementsAre(Content::kXt));
}

TEST(BenchFlagsTest, WithoutFlagsWhatTheModelSays) {
  BenchFlags flags;
  EXPECT_EQ(Parse(&flags, {}), "");
  Model model;
  model.default_steps = 30;
  const WorkloadOptions options = MakeWorkloadOptions(flags, model);
  ASSERT_EQ(options.steps.size(), 1u);
  EXPECT_EQ(options.steps[0].value, 30u);
  EXPECT_EQ(options.samplers.at(0).value, Sampler::Kind::kModelDefault);
  EXPECT_EQ(options.request.states.every_n_steps, 0u) << "nothing is streamed";
  EXPECT_EQ(options.slow_share, 0);
}

TEST(BenchFlagsTest, WhatIsRefusedIsNamed) {
  EXPECT_THAT(Refusal({"--clients", "0"}), HasSubstr("'0' is not a whole number of 1 to 100000"));
  EXPECT_THAT(Refusal({"--clients", "2", "--rate", "3"}), HasSubstr("--clients"));
  EXPECT_THAT(Refusal({"--rate", "0"}), HasSubstr("--rate: must be above 0"));
  EXPECT_THAT(Refusal({"--rate", "nan"}), HasSubstr("--rate: must be above 0"));
  EXPECT_THAT(Refusal({"--steps", "10,many"}), HasSubstr("--steps: 'many' is not a whole number"));
  EXPECT_THAT(Refusal({"--steps", "0"}), HasSubstr("'0' is not a whole number from 1"));
  EXPECT_THAT(Refusal({"--steps", "10:0"}), HasSubstr("a weight is a number above 0, as in 10:2"));
  EXPECT_THAT(Refusal({"--steps", "10:inf"}), HasSubstr("a weight is a number above 0"));
  EXPECT_THAT(Refusal({"--steps", "10:1:2"}), HasSubstr("a weight is a number above 0"));
  EXPECT_THAT(Refusal({"--steps", "10,20,10:2"}), HasSubstr("'10' is given twice"));
  EXPECT_THAT(Refusal({"--sampler", "ddim,dpm"}), HasSubstr("'dpm' is none of ddpm|ddim"));
  EXPECT_THAT(Refusal({"--duration", "0"}), HasSubstr("'0' is no duration"));
  EXPECT_THAT(Refusal({"--warm-up", "-1s"}), HasSubstr("'-1s' is no duration"));
  EXPECT_THAT(Refusal({"--warm-up", "inf"}), HasSubstr("--warm-up: must end"));
  EXPECT_THAT(Refusal({"--slow-readers", "0.1/1s"}), HasSubstr("--stream"));
  for (const char* bad : {"0.1", "0/1s", "1.5/1s", "0.1/0s", "0.1/11s", "0.1/soon", "0.1/1s/2"}) {
    EXPECT_THAT(Refusal({"--stream", "--slow-readers", bad}), HasSubstr("write for example"))
        << bad;
  }
  EXPECT_THAT(Refusal({"--every", "2"}), HasSubstr("--stream"));
  EXPECT_THAT(Refusal({"--histogram", "h.jpg"}), HasSubstr("'h.jpg' must end with .png"));
}

class BenchCommandTest : public CommandTest {
 protected:
  BenchCommandTest() {
    flags_.duration = absl::Seconds(2);
    flags_.clients = 2;
    flags_.steps = {{10}, {50}};
    load_->models = server_->models;
  }

  int Run() { return RunBench(flags_, loaded_, console_, interrupt_, loop_); }

  const std::shared_ptr<FakeLoop> loop_ = std::make_shared<FakeLoop>();
  const std::shared_ptr<SimulatedServer> load_ = std::make_shared<SimulatedServer>(loop_);
  Client loaded_{load_};
  BenchFlags flags_;
};

TEST_F(BenchCommandTest, ATableForPeople) {
  EXPECT_EQ(Run(), 0) << err_.str();
  const std::string shown = out_.str();
  EXPECT_THAT(shown, HasSubstr("digits version 1, closed loop of 2 clients\n"));
  EXPECT_THAT(shown, HasSubstr("200 requests in 2.00 s: 100.00 requests/s, "));
  EXPECT_THAT(shown, HasSubstr("milliseconds"));
  // One request of 10 ms is before each; quantiles are up to the precision above that.
  EXPECT_THAT(shown, ::testing::ContainsRegex("total        all +200 +20\\.00 +20\\.00 +20\\.00"));
  EXPECT_THAT(shown, HasSubstr("10 steps"));
  EXPECT_THAT(shown, HasSubstr("50 steps"));
  EXPECT_THAT(shown, HasSubstr("queue        all"));
  EXPECT_THAT(shown, HasSubstr("first state  all"));
  EXPECT_THAT(shown, HasSubstr("200 states were left out"));
}

TEST_F(BenchCommandTest, JsonIsOneDocument) {
  console_.json = true;
  flags_.rate = 20;
  int count = 0;
  load_->refuse = [&count](const SampleRequest&) {
    return ++count == 40 ? absl::UnavailableError("away") : absl::OkStatus();
  };
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["model"], "digits");
  EXPECT_EQ(document["loop"], "open");
  EXPECT_EQ(document["rate"], 20);
  EXPECT_EQ(document["interrupted"], false);
  EXPECT_EQ(document["elapsed_seconds"], 2);
  EXPECT_EQ(document["errors"], nlohmann::json({{"UNAVAILABLE", 1}}));
  EXPECT_EQ(document["requests_per_second"], document["requests"].get<double>() / 2);
  EXPECT_EQ(document["rows_per_second"], document["rows"].get<double>() / 2);
  ASSERT_EQ(document["by_steps"].size(), 2u);
  EXPECT_EQ(document["by_steps"][0]["steps"], 10);
  EXPECT_EQ(document["by_steps"][1]["steps"], 50);
  for (const char* name : {"total_seconds", "queue_seconds", "first_state_seconds"}) {
    const auto& all = document[name];
    EXPECT_EQ(all["count"], document["by_steps"][0][name]["count"].get<int>() +
                                document["by_steps"][1][name]["count"].get<int>());
    EXPECT_LE(all["p50"], all["p90"]);
    EXPECT_LE(all["p90"], all["p99"]);
    EXPECT_LE(all["p99"], all["p99.9"]);
    EXPECT_LE(all["p99.9"], all["max"]);
  }
  EXPECT_GE(document["total_seconds"]["p50"], 0.01);
  EXPECT_GE(document["client_cpu_seconds"], 0);
}

TEST_F(BenchCommandTest, AHistogram) {
  flags_.histogram = Path("h.png");
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto picture = DecodePng(*ReadFile(flags_.histogram), 1);
  ASSERT_TRUE(picture.ok());
  EXPECT_EQ(picture->height, 3 * 72 + 28) << "of all, and of two step counts";
  flags_.histogram = "/nowhere/h.png";
  load_->requests.clear();
  EXPECT_EQ(Run(), EX_CANTCREAT);
  EXPECT_TRUE(load_->requests.empty()) << "known before the work";
}

TEST_F(BenchCommandTest, AnInterruptTellsWhatWasMeasured) {
  console_.json = true;
  flags_.duration = absl::InfiniteDuration();
  loop_->At(loop_->Now() + absl::Seconds(3), [this] { interrupt_.Trigger(SIGINT); });
  EXPECT_EQ(Run(), 130);
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["interrupted"], true);
  EXPECT_EQ(document["elapsed_seconds"], 2);
  EXPECT_GE(document["requests"], 199);
  EXPECT_GE(load_->cancelled, 1);
}

TEST_F(BenchCommandTest, WhatIsRefusedIsToldAtOnce) {
  load_->refuse = [](const SampleRequest&) { return absl::InvalidArgumentError("steps is 10"); };
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("denoise: steps is 10\n"));
}

TEST_F(BenchCommandTest, NothingButErrorsIsAFailure) {
  load_->refuse = [](const SampleRequest&) { return absl::UnavailableError("away"); };
  EXPECT_EQ(Run(), EX_UNAVAILABLE);
  EXPECT_THAT(out_.str(), HasSubstr("requests failed, UNAVAILABLE: away"));
  EXPECT_THAT(err_.str(), HasSubstr("no request succeeded"));
}

TEST_F(BenchCommandTest, NoSuchModel) {
  load_->models.clear();
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_TRUE(load_->requests.empty());
}

}  // namespace
}  // namespace denoise::cli
