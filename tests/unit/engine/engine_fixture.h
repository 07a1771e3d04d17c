// Engines with fake executors, and requests for them.
#ifndef DENOISE_TESTS_UNIT_ENGINE_ENGINE_FIXTURE_H_
#define DENOISE_TESTS_UNIT_ENGINE_ENGINE_FIXTURE_H_

#include <atomic>
#include <map>
#include <memory>
#include <semaphore>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/engine/fake_executor.h"
#include "tests/unit/engine/reader.h"

namespace denoise {

// Lets a test hold the engine's thread before each batch and let single ticks through.
class Gate {
 public:
  absl::Status Pass(absl::Span<const RowTask>) {
    arrived_.release();
    go_.acquire();
    return absl::OkStatus();
  }
  void WaitForTick() { arrived_.acquire(); }
  void LetGo() { go_.release(); }
  // From now on nothing is held.
  void Open() { go_.release(1'000'000); }

 private:
  std::counting_semaphore<> arrived_{0};
  std::counting_semaphore<> go_{0};
};

class EngineTest : public ::testing::Test {
 protected:
  struct Submitted {
    std::shared_ptr<Request> request;
    std::unique_ptr<Reader> reader;
    EventStream& stream() { return *request->stream; }
  };

  void Start(FakeExecutor::Hook hook = nullptr, Batching batching = Batching::kStep,
             int engines = 1, size_t max_active = 64, Policy policy = {}) {
    StartEach([hook](int) { return hook; }, batching, engines, max_active, policy);
  }

  // With a hook for each engine.
  void StartEach(const std::function<FakeExecutor::Hook(int engine)>& hook, Batching batching,
                 int engines, size_t max_active = 64, Policy policy = {}) {
    exchange_ = std::make_unique<ChainExchange>(engines);
    queue_ = std::make_unique<WaitingQueue>(
        WaitingQueue::Options{.max_waiting = 10'000, .engines = engines, .policy = policy});
    for (int i = 0; i < engines; ++i) {
      Engine::Options options;
      options.index = i;
      options.device = absl::StrCat("cpu:", i);
      options.batching = batching;
      options.max_active = max_active;
      options.policy = policy;
      options.exchange = exchange_.get();
      engines_.push_back(std::make_unique<Engine>(options, queue_.get(), &metrics_, &clock_));
      ASSERT_TRUE(engines_.back()
                      ->AddModel([=, this]() -> absl::StatusOr<std::unique_ptr<Executor>> {
                        return std::make_unique<FakeExecutor>(hook(i), &live_slots_, decode_hook_);
                      })
                      .ok());
    }
  }

  // `decode`: the result.
  Submitted Make(uint32_t steps, uint32_t samples = 1, uint64_t seed = 1, bool decode = false,
                 size_t max_pending_bytes = 1 << 18) {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->table = FakeTable(steps);
    request->num_samples = samples;
    request->seed = seed;
    request->labels.assign(samples, 3);
    request->decode = decode;
    request->arrival = clock_.Now();
    EventStream::Options options;
    options.num_samples = samples;
    options.values_per_sample = request->values_per_result();
    options.max_pending_bytes = max_pending_bytes;
    options.arrival = request->arrival;
    return WithStream(std::move(request), options);
  }

  Submitted WithStream(std::shared_ptr<Request> request, EventStream::Options options) {
    auto stream = std::make_shared<EventStream>(options, &clock_);
    auto wake = [this] {
      for (auto& engine : engines_) engine->Wake();
    };
    stream->OnCancel(wake);
    stream->OnRoom(wake);
    request->stream = stream;
    return {std::move(request), std::make_unique<Reader>(stream.get())};
  }

  void Push(Submitted& submitted) { ASSERT_TRUE(queue_->TryPush(submitted.request).ok()); }

  // Makes and pushes it.
  template <typename... Arguments>
  Submitted Submit(Arguments... arguments) {
    Submitted submitted = Make(arguments...);
    Push(submitted);
    return submitted;
  }
  template <typename... Arguments>
  Submitted SubmitEvaluate(Arguments... arguments) {
    Submitted submitted = MakeEvaluate(arguments...);
    Push(submitted);
    return submitted;
  }

  std::vector<float> ExpectedSamples(const Request& request) {
    std::vector<float> all;
    for (uint32_t i = 0; i < request.num_samples; ++i) {
      const auto x = FakeExecutor::Expected(*request.table, request.seed + i, 3);
      all.insert(all.end(), x.begin(), x.end());
    }
    return all;
  }

  // An Evaluate of `terms` terms.
  Submitted MakeEvaluate(uint32_t terms, uint32_t samples = 1, uint64_t seed = 1,
                         size_t max_pending_bytes = 1 << 18) {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->table = FakeTerms(terms);
    request->num_samples = samples;
    request->seed = seed;
    request->labels.assign(samples, 3);
    for (uint32_t i = 0; i < 4 * samples; ++i) request->start.push_back(0.1f * (i + seed % 7));
    request->evaluation = std::make_shared<Evaluation>(request->table, samples, 4);
    request->arrival = clock_.Now();
    EventStream::Options options;
    options.num_samples = samples;
    options.values_per_sample = 4;
    options.keep_samples = false;
    options.lossless = true;
    options.max_pending_bytes = max_pending_bytes;
    options.arrival = request->arrival;
    return WithStream(std::move(request), options);
  }

  // Reads an Evaluate to its end: every term once and as it should be, and the bound.
  void ExpectBound(Submitted& submitted) {
    const Request& request = *submitted.request;
    Evaluation alone(request.table, request.num_samples, 4);
    std::vector<TermEvent> expected;
    for (size_t term = 0; term < request.table->terms.size(); ++term) {
      for (uint32_t i = 0; i < request.num_samples; ++i) {
        const auto x_0 = absl::MakeConstSpan(request.start).subspan(i * 4, 4);
        alone.SetPrior(i, PriorNats(request.model->schedule, x_0));
        auto event = alone.Add(i, term,
                               FakeExecutor::Values(x_0[0], request.seed + i, term,
                                                    request.table->rows[term].timestep, 3));
        if (event.has_value()) expected.push_back(*std::move(event));
      }
    }
    std::map<uint32_t, TermEvent> got;
    StreamEvent event = submitted.reader->Next();
    for (; std::holds_alternative<TermEvent>(event); event = submitted.reader->Next()) {
      auto& term = std::get<TermEvent>(event);
      const uint32_t timestep = term.timestep;
      EXPECT_TRUE(got.emplace(timestep, std::move(term)).second) << timestep << " came twice";
    }
    ASSERT_TRUE(std::holds_alternative<ResultEvent>(event))
        << std::get<absl::Status>(event).ToString();
    EXPECT_TRUE(std::get<ResultEvent>(event).samples.empty());
    EXPECT_EQ(std::get<ResultEvent>(event).denoiser_rows,
              request.num_samples * request.table->terms.size());
    EXPECT_EQ(got.size(), expected.size());
    for (const TermEvent& term : expected) {
      EXPECT_EQ(got[term.timestep].bits_per_dim, term.bits_per_dim);
      EXPECT_EQ(got[term.timestep].eps_mse, term.eps_mse);
      EXPECT_EQ(got[term.timestep].x_0_mse, term.x_0_mse);
    }
    const LikelihoodEvent total = request.evaluation->Total();
    EXPECT_EQ(total.total_bits_per_dim, alone.Total().total_bits_per_dim);
    EXPECT_EQ(total.prior_bits_per_dim, alone.Total().prior_bits_per_dim);
  }

  void ExpectResult(Submitted& submitted) {
    auto [states, end] = submitted.reader->All();
    ASSERT_TRUE(std::holds_alternative<ResultEvent>(end)) << std::get<absl::Status>(end).ToString();
    EXPECT_EQ(std::get<ResultEvent>(end).samples, ExpectedSamples(*submitted.request));
  }

  // Waits until the engine has done everything that was asked before.
  void Settle() {
    for (auto& engine : engines_) ASSERT_TRUE(engine->Run([] { return absl::OkStatus(); }).ok());
  }

  FakeClock clock_;
  Metrics metrics_;
  std::atomic<int> live_slots_{0};
  FakeExecutor::DecodeHook decode_hook_;  // set before Start
  std::shared_ptr<const ModelInfo> model_ = std::make_shared<ModelInfo>(FakeModel());
  std::unique_ptr<WaitingQueue> queue_;
  std::unique_ptr<ChainExchange> exchange_;
  std::vector<std::unique_ptr<Engine>> engines_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_ENGINE_ENGINE_FIXTURE_H_
