// The simulation against a real engine, and what it says of the server's planning code.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/waiting_queue.h"
#include "server/metrics/metrics.h"
#include "simulation/batch_curve.h"
#include "simulation/fleet.h"
#include "simulation/replica.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/engine/fake_executor.h"

namespace denoise {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// --- Against a real engine.

struct Asked {
  nanoseconds at;
  uint32_t steps = 0;
};

// What one replica does: the requests of each batch, in order, and when it began.
struct Ran {
  nanoseconds at;
  std::vector<int64_t> requests;
  bool operator==(const Ran&) const = default;
};

// Bursts and lulls, so that there are idle times, full batches, and queues.
std::vector<Asked> MixedLoad() {
  std::mt19937_64 generator(5);
  std::vector<Asked> load;
  const uint32_t steps[] = {1, 2, 5, 25};
  nanoseconds at(0);
  for (int i = 0; i < 400; ++i) {
    at += nanoseconds(generator() % (i % 100 < 70 ? 2'000'000 : 60'000'000));
    load.push_back({at, steps[generator() % 4]});
  }
  return load;
}

BatchCurve SmallCurve() {
  return {.batch_sizes = {1, 2, 4, 8},
          .times = {milliseconds(2), milliseconds(3), milliseconds(4), milliseconds(7)}};
}

class AgainstEngineTest : public testing::TestWithParam<std::pair<Batching, Order>> {
 protected:
  static constexpr size_t kMaxActive = 12;

  Policy policy() const {
    return Policy({.order = GetParam().second, .max_wait = milliseconds(400)});
  }

  std::shared_ptr<Request> MakeRequest(size_t number, SteadyTime arrival) {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->table = FakeTable(load_[number].steps);
    request->labels = {static_cast<int64_t>(number)};
    request->tenant = number % 3 == 0 ? "often" : "seldom";
    request->arrival = arrival;
    return request;
  }

  const std::vector<Asked> load_ = MixedLoad();
  const BatchCurve curve_ = SmallCurve();
  const std::shared_ptr<const ModelInfo> model_ = std::make_shared<ModelInfo>(FakeModel());
};

class ByReplica {
 public:
  template <typename MakeRequest>
  static std::vector<Ran> Run(const std::vector<Asked>& load, const BatchCurve& curve,
                              Replica::Options options, MakeRequest make) {
    WaitingQueue queue({.max_waiting = 10'000, .policy = options.policy});
    Replica replica(options, curve.batch_sizes, &queue);
    std::vector<Ran> ran;
    const SteadyTime zero = FakeClock().Now();
    SteadyTime now = zero;
    for (size_t next = 0;;) {
      for (; next < load.size() && zero + load[next].at <= now; ++next) {
        EXPECT_TRUE(queue.TryPush(make(next, zero + load[next].at)).ok());
      }
      if (replica.Begin(now)) {
        Ran& one = ran.emplace_back();
        one.at = now - zero;
        for (const size_t chain : replica.batch().chains) {
          one.requests.push_back(replica.request(chain).labels[0]);
        }
        now += curve.TimeFor(replica.batch().padded_rows);
        replica.End([](const Request&) {});
      } else if (next < load.size()) {
        now = zero + load[next].at;
      } else {
        return ran;
      }
    }
  }
};

// A real engine, whose executor moves the clock: a call takes the curve's time, and what is asked
// for meanwhile is in the queue when it returns.
class ByEngine {
 public:
  template <typename MakeRequest>
  static std::vector<Ran> Run(const std::vector<Asked>& load, const BatchCurve& curve,
                              Replica::Options options, MakeRequest make) {
    FakeClock clock;
    const SteadyTime zero = clock.Now();
    Metrics metrics;
    WaitingQueue queue({.max_waiting = 10'000, .policy = options.policy});
    std::vector<Ran> ran;
    std::atomic<size_t> next = 0;
    std::atomic<size_t> ended = 0;
    const auto push_due = [&](SteadyTime now) {
      while (next < load.size() && zero + load[next].at <= now) {
        const size_t number = next++;
        std::shared_ptr<Request> request = make(number, zero + load[number].at);
        EventStream::Options stream;
        stream.keep_samples = false;
        request->stream = std::make_shared<EventStream>(stream, &clock);
        request->stream->OnReady([&ended] {
          ++ended;
          ended.notify_all();
        });
        EXPECT_TRUE(queue.TryPush(std::move(request)).ok());
      }
    };
    const auto hook = [&](absl::Span<const RowTask> tasks) {
      Ran& one = ran.emplace_back();
      one.at = clock.Now() - zero;
      for (const RowTask& task : tasks) one.requests.push_back(task.label);
      clock.Advance(curve.TimeFor(
          PaddedRows(static_cast<int64_t>(tasks.size()), absl::MakeConstSpan(curve.batch_sizes))));
      push_due(clock.Now());
      return absl::OkStatus();
    };
    Engine::Options engine_options;
    engine_options.device = "cpu:0";
    engine_options.batching = options.batching;
    engine_options.max_active = options.max_active;
    engine_options.policy = options.policy;
    Engine engine(engine_options, &queue, &metrics, &clock);
    EXPECT_TRUE(engine
                    .AddModel([&]() -> absl::StatusOr<std::unique_ptr<Executor>> {
                      return std::make_unique<FakeExecutor>(hook);
                    })
                    .ok());
    while (next < load.size()) {
      // All that was pushed has ended, so the engine is idle until the next is; and after its
      // second turn from here it has told the queue so.
      for (int turn = 0; turn < 2; ++turn) {
        EXPECT_TRUE(engine.Run([] { return absl::OkStatus(); }).ok());
      }
      const SteadyTime due = zero + load[next].at;
      if (due > clock.Now()) clock.Advance(due - clock.Now());
      push_due(clock.Now());
      for (size_t count = ended; count < next; count = ended) ended.wait(count);
    }
    engine.Stop();
    return ran;
  }
};

TEST_P(AgainstEngineTest, EveryBatchIsTheSame) {
  const Replica::Options options{
      .batching = GetParam().first, .max_active = kMaxActive, .policy = policy()};
  const auto make = [this](size_t number, SteadyTime at) { return MakeRequest(number, at); };
  const std::vector<Ran> simulated = ByReplica::Run(load_, curve_, options, make);
  const std::vector<Ran> real = ByEngine::Run(load_, curve_, options, make);
  ASSERT_EQ(simulated.size(), real.size());
  for (size_t i = 0; i < real.size(); ++i) {
    EXPECT_EQ(simulated[i].requests, real[i].requests) << "batch " << i;
    ASSERT_EQ(simulated[i].at.count(), real[i].at.count()) << "batch " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(BatchingsAndPolicies, AgainstEngineTest,
                         testing::Values(std::pair(Batching::kStep, Order::kFcfs),
                                         std::pair(Batching::kStep, Order::kSrpf),
                                         std::pair(Batching::kStep, Order::kFair),
                                         std::pair(Batching::kRequest, Order::kFcfs),
                                         std::pair(Batching::kNone, Order::kFcfs)));

// --- What comes of it.

class SimulatedTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<BatchCurve> curve = ReadBatchCurve(CURVE);
    ASSERT_TRUE(curve.ok()) << curve.status().ToString();
    curve_ = *std::move(curve);
  }

  // At that share of what the fleet could do in batches of the best size.
  FleetReport AtLoad(double load, FleetOptions options) {
    options.rate =
        load * curve_.RowsPerSecond() * options.servers * options.replicas / MeanSteps(options);
    return Simulate(options, curve_);
  }

  static void ExpectEachEndsOnce(const FleetReport& report) {
    EXPECT_GT(report.arrived, 0u);
    EXPECT_EQ(report.ended + report.refused, report.arrived);
    EXPECT_EQ(report.ended_twice, 0u);
  }

  BatchCurve curve_;
};

TEST_F(SimulatedTest, StepBatchingHalvesTheTailOfShortRequests) {
  FleetOptions step;
  step.duration = seconds(300);
  FleetOptions request = step;
  request.batching = Batching::kRequest;
  const double smaller = std::min(Capacity(step, curve_), Capacity(request, curve_));
  const double load = 0.7 * smaller / (curve_.RowsPerSecond() * step.replicas);
  const FleetReport by_step = AtLoad(load, step);
  const FleetReport by_request = AtLoad(load, request);
  EXPECT_EQ(by_step.refused, 0u);
  EXPECT_EQ(by_request.refused, 0u);
  EXPECT_LE(by_step.by_steps.at(10).Quantile(0.99),
            0.5 * by_request.by_steps.at(10).Quantile(0.99));
}

TEST_F(SimulatedTest, EveryRequestEndsOnce) {
  for (const Batching batching : {Batching::kStep, Batching::kRequest, Batching::kNone}) {
    for (const double load : {0.5, 1.5}) {
      FleetOptions options{.servers = 3, .max_waiting = 20, .batching = batching, .clients = 100};
      options.duration = seconds(20);
      ExpectEachEndsOnce(AtLoad(load, options));
    }
  }
}

TEST_F(SimulatedTest, TheSameSeedGivesTheSame) {
  FleetOptions options{.servers = 2, .clients = 50};
  options.duration = seconds(20);
  const FleetReport first = AtLoad(0.8, options);
  const FleetReport again = AtLoad(0.8, options);
  EXPECT_EQ(first.ticks, again.ticks);
  EXPECT_EQ(first.by_steps.at(50).seconds, again.by_steps.at(50).seconds);
  options.seed = 1;
  EXPECT_NE(first.by_steps.at(50).seconds, AtLoad(0.8, options).by_steps.at(50).seconds);
}

// For a minute and a half more is asked for than can be done, and nothing is refused.
// Shortest-first would run the short ones alone, and fair none of the greedy tenant's. With
// max_wait each is late by no more than that beside first come, first served.
class NoStarvationTest : public SimulatedTest, public testing::WithParamInterface<Order> {
 protected:
  double Longest(Order order, nanoseconds max_wait) {
    FleetOptions options{.replicas = 1, .max_waiting = 1'000'000, .clients = 20};
    options.steps.assign(39, 10);
    options.steps.push_back(250);
    options.greedy_share = 0.5;
    options.duration = seconds(80);
    options.max_backlog = nanoseconds(0);
    options.policy = {.order = order, .max_wait = max_wait};
    const FleetReport report = AtLoad(1.7, options);
    ExpectEachEndsOnce(report);
    EXPECT_EQ(report.refused, 0u);
    double longest = report.greedy.Quantile(1);
    for (const auto& [steps, latencies] : report.by_steps) {
      longest = std::max(longest, latencies.Quantile(1));
    }
    return longest;
  }
};

TEST_P(NoStarvationTest, UnderLastingOverload) {
  const double bound = 8 + Longest(Order::kFcfs, seconds(8));
  EXPECT_LE(Longest(GetParam(), seconds(8)), bound);
  EXPECT_GT(Longest(GetParam(), std::chrono::hours(24)), bound);
}

INSTANTIATE_TEST_SUITE_P(Policies, NoStarvationTest, testing::Values(Order::kSrpf, Order::kFair));

// As long as what is taken in is done within max_wait, which max_backlog sees to: what is older
// goes first whoever it is of.
TEST_F(SimulatedTest, FairKeepsOthersFromAGreedyTenant) {
  FleetOptions options{.clients = 20};
  options.duration = seconds(200);
  options.greedy_share = 0.7;
  const FleetReport fcfs = AtLoad(1.2, options);
  options.policy.order = Order::kFair;
  const FleetReport fair = AtLoad(1.2, options);
  EXPECT_LT(fair.by_steps.at(10).Quantile(0.99), 0.2 * fcfs.by_steps.at(10).Quantile(0.99));
}

TEST(BatchCurveTest, SaysWhatIsWrongWithAFile) {
  const auto curve = ReadBatchCurve("/nowhere/curve.json");
  EXPECT_EQ(curve.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(curve.status().ToString().find("record one by"), std::string::npos);
}

}  // namespace
}  // namespace denoise
