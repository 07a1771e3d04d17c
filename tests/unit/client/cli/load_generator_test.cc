// Loads on a simulated server, in simulated time.
#include "client/cli/load/load_generator.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/simulated_server.h"

namespace denoise::cli {
namespace {

class LoadGeneratorTest : public ::testing::Test {
 protected:
  LoadGeneratorTest() {
    plan_.warm_up = absl::Seconds(1);
    plan_.duration = absl::Seconds(10);
    plan_.cpu_time = [this] { return (loop_->Now() - begin_) / 4; };
    options_.steps = {{10}};
    options_.samplers = {{Sampler::Kind::kDdim}};
  }

  void Make() {
    generator_ = std::make_unique<LoadGenerator>(Client(server_), plan_, Workload(options_), loop_);
  }
  const LoadStats& Run() {
    Make();
    status_ = generator_->Run();
    return generator_->stats();
  }

  const std::shared_ptr<FakeLoop> loop_ = std::make_shared<FakeLoop>();
  const absl::Duration begin_ = loop_->Now();
  const std::shared_ptr<SimulatedServer> server_ = std::make_shared<SimulatedServer>(loop_);
  LoadPlan plan_;
  WorkloadOptions options_;
  std::unique_ptr<LoadGenerator> generator_;
  absl::Status status_;
};

TEST_F(LoadGeneratorTest, AClosedLoopKeepsItsClientsBusy) {
  plan_.clients = 4;
  const LoadStats& stats = Run();
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(stats.requests, 1000u) << "one every 10 ms";
  EXPECT_EQ(stats.rows, 10000u);
  EXPECT_EQ(stats.states_dropped, 1000u);
  EXPECT_EQ(stats.elapsed(), absl::Seconds(10));
  EXPECT_EQ(stats.cpu, absl::Seconds(2.5));
  // Three others are before each, but for the beginning, which isn't measured.
  EXPECT_EQ(stats.all.total.min(), absl::Milliseconds(40));
  EXPECT_EQ(stats.all.total.max(), absl::Milliseconds(40));
  EXPECT_EQ(stats.all.queue.mean(), absl::Milliseconds(30));
  EXPECT_EQ(stats.all.first_state.max(), absl::Milliseconds(35));
  EXPECT_EQ(stats.by_steps.size(), 1u);
  EXPECT_EQ(stats.send_delay.max(), absl::ZeroDuration());
}

TEST_F(LoadGeneratorTest, AnOpenLoopSendsWhateverHasEnded) {
  plan_.rate = 50;
  server_->service_time = [](const SampleRequest&) { return absl::Milliseconds(1); };
  const LoadStats& stats = Run();
  // Poisson: five standard deviations.
  EXPECT_NEAR(static_cast<double>(stats.all.total.count()), 500, 112);
  EXPECT_EQ(stats.all.total.count(), stats.send_delay.count());
  EXPECT_EQ(stats.all.total.min(), absl::Milliseconds(1));
  EXPECT_LT(server_->arrivals.back(), stats.to());
  EXPECT_GT(stats.all.total.count(), stats.requests - 5);
}

TEST_F(LoadGeneratorTest, AServerThatStandsStillIsChargedForAllThatWouldHaveBeenSent) {
  plan_.rate = 100;
  int count = 0;
  server_->service_time = [&count](const SampleRequest&) {
    return ++count == 500 ? absl::Seconds(5) : absl::Milliseconds(1);
  };
  const LoadStats& stats = Run();
  // About half of the arrivals of the 10 s met the 5 s of standstill; they waited 2.5 s on average.
  EXPECT_GT(stats.all.total.Quantile(0.9), absl::Seconds(3));
  EXPECT_GT(stats.all.total.Quantile(0.7), absl::Seconds(1));
  EXPECT_GT(stats.all.first_state.Quantile(0.9), absl::Seconds(3));
}

TEST_F(LoadGeneratorTest, AClientThatLagsIsChargedToo) {
  plan_.rate = 100;
  server_->service_time = [](const SampleRequest&) { return absl::Milliseconds(1); };
  // The loop is held up for 2 s by another task.
  loop_->At(begin_ + absl::Seconds(5), [this] { loop_->AdvanceTo(begin_ + absl::Seconds(7)); });
  const LoadStats& stats = Run();
  EXPECT_GT(stats.send_delay.max(), absl::Seconds(1.9));
  EXPECT_GT(stats.all.total.max(), absl::Seconds(1.9));
  EXPECT_NEAR(static_cast<double>(stats.all.total.count()), 1000, 158) << "none is left out";
}

TEST_F(LoadGeneratorTest, StepCountsApart) {
  options_.steps = {{10, 1}, {50, 1}};
  server_->service_time = [](const SampleRequest& request) {
    return absl::Milliseconds(request.sampler.steps);
  };
  const LoadStats& stats = Run();
  ASSERT_EQ(stats.by_steps.size(), 2u);
  EXPECT_EQ(stats.by_steps.at(10).total.max(), absl::Milliseconds(10));
  EXPECT_EQ(stats.by_steps.at(50).total.min(), absl::Milliseconds(50));
  EXPECT_EQ(stats.by_steps.at(10).total.count() + stats.by_steps.at(50).total.count(),
            stats.all.total.count());
}

TEST_F(LoadGeneratorTest, SlowReadersPauseWithoutHoldingUpOthers) {
  plan_.slow_pause = absl::Milliseconds(200);
  options_.slow_share = 1;
  const LoadStats& stats = Run();
  // Pauses after Accepted, State and Result; the server's time passes meanwhile.
  EXPECT_EQ(stats.all.total.max(), absl::Milliseconds(600));
  EXPECT_EQ(stats.all.first_state.max(), absl::Milliseconds(200));
  EXPECT_LT(loop_->Now() - stats.to(), absl::Milliseconds(600));
}

TEST_F(LoadGeneratorTest, ErrorsAreCountedByCodeAndDoNotMakeTheClientSpin) {
  int count = 0;
  server_->refuse = [&count](const SampleRequest&) {
    return ++count % 2 == 0 ? absl::ResourceExhaustedError("full") : absl::OkStatus();
  };
  const LoadStats& stats = Run();
  EXPECT_TRUE(status_.ok());
  ASSERT_EQ(stats.errors.count(absl::StatusCode::kResourceExhausted), 1u);
  const auto& errors = stats.errors.at(absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(errors.first.message(), "full");
  // A request of 10 ms, then one that fails and 100 ms of rest.
  EXPECT_NEAR(static_cast<double>(errors.count), 91, 1);
  EXPECT_NEAR(static_cast<double>(stats.all.total.count()), 91, 1);
}

TEST_F(LoadGeneratorTest, WhatEveryRequestWouldMeetEndsTheRun) {
  plan_.clients = 3;
  server_->refuse = [](const SampleRequest& request) {
    return request.sampler.steps == 10 ? absl::InvalidArgumentError("steps") : absl::OkStatus();
  };
  Run();
  EXPECT_EQ(status_, absl::InvalidArgumentError("steps"));
  EXPECT_EQ(server_->requests.size(), 3u);
  EXPECT_EQ(loop_->Now(), begin_);
}

TEST_F(LoadGeneratorTest, StopCancelsWhatIsUnderWayAndKeepsWhatWasMeasured) {
  plan_.clients = 4;
  plan_.duration = absl::InfiniteDuration();
  loop_->At(begin_ + absl::Seconds(3), [this] { generator_->Stop(); });
  const LoadStats& stats = Run();
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(stats.elapsed(), absl::Seconds(2));
  EXPECT_NEAR(static_cast<double>(stats.requests), 200, 1);
  EXPECT_EQ(stats.cpu, absl::Seconds(0.5));
  EXPECT_GE(server_->cancelled, 3);
  EXPECT_TRUE(stats.errors.empty()) << "cancels of one's own";
  EXPECT_EQ(loop_->Now(), begin_ + absl::Seconds(3));
}

TEST_F(LoadGeneratorTest, StopDuringTheWarmUp) {
  loop_->At(begin_, [this] { generator_->Stop(); });
  const LoadStats& stats = Run();
  EXPECT_EQ(stats.elapsed(), absl::ZeroDuration());
  EXPECT_EQ(stats.requests, 0u);
  EXPECT_EQ(stats.cpu, absl::ZeroDuration());
}

TEST_F(LoadGeneratorTest, EachCallIsNamedInTheServersLog) {
  plan_.duration = absl::Milliseconds(1);
  plan_.warm_up = absl::ZeroDuration();
  plan_.clients = 2;
  plan_.call.request_id = "load";
  Run();
  ASSERT_EQ(server_->options.size(), 2u);
  EXPECT_EQ(server_->options[0].request_id, "load-1");
  EXPECT_EQ(server_->options[1].request_id, "load-2");
}

}  // namespace
}  // namespace denoise::cli
