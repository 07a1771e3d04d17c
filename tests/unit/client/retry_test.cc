// Retries: which calls, when, how often, and what their caller sees of them.
#include <array>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/src/retries.h"
#include "client/src/retrying_connection.h"
#include "denoise/client.h"
#include "denoise/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/done.h"
#include "tests/unit/client/fake_timer.h"

namespace denoise {
namespace {

using testing::ChainOf;
using ::testing::ElementsAre;
using testing::FakeConnection;
using testing::Script;

const absl::Status kGone = absl::UnavailableError("gone");
constexpr std::array<int64_t, 3> kShape = {1, 2, 2};

RetryPolicy Policy(int attempts) {
  RetryPolicy policy;
  policy.max_attempts = attempts;
  policy.initial_backoff = absl::Seconds(1);
  policy.max_backoff = absl::Seconds(3);
  return policy;
}

// --- the arithmetic

class RetriesTest : public ::testing::Test {
 protected:
  Retries Make(const RetryPolicy& policy, absl::Duration timeout = absl::ZeroDuration()) {
    CallOptions options;
    options.timeout = timeout;
    options.request_id = "r-1";
    return Retries(policy, options, absl::InfiniteDuration(), now_);
  }
  const absl::Time now_ = absl::UnixEpoch();
};

TEST_F(RetriesTest, BackoffGrowsToItsMaximumAndAttemptsEnd) {
  Retries retries = Make(Policy(5));
  // Half of b to b.
  EXPECT_EQ(retries.After(kGone, now_, 0), absl::Seconds(0.5));
  EXPECT_EQ(retries.After(kGone, now_, 0.5), absl::Seconds(1.5));
  EXPECT_EQ(retries.After(kGone, now_, 0), absl::Seconds(1.5));
  EXPECT_EQ(retries.After(kGone, now_, 0), absl::Seconds(1.5));
  EXPECT_EQ(retries.After(kGone, now_, 0), std::nullopt);
}

TEST_F(RetriesTest, OnlyTheCodesOfThePolicy) {
  EXPECT_EQ(Make(Policy(5)).After(absl::ResourceExhaustedError("full"), now_, 0), std::nullopt);
  EXPECT_EQ(Make(Policy(5)).After(absl::CancelledError(), now_, 0), std::nullopt);
  EXPECT_EQ(Make(Policy(5)).After(absl::OkStatus(), now_, 0), std::nullopt);
  RetryPolicy policy = Policy(5);
  policy.codes = {absl::StatusCode::kResourceExhausted};
  EXPECT_EQ(Make(policy).After(absl::ResourceExhaustedError("full"), now_, 0), absl::Seconds(0.5));
  EXPECT_EQ(Make(policy).After(kGone, now_, 0), std::nullopt);
}

TEST_F(RetriesTest, TheServersDelayIsTheLeast) {
  Retries retries = Make(Policy(5));
  ErrorDetails details;
  details.retry_delay = absl::Seconds(20);
  EXPECT_EQ(retries.After(WithDetails(kGone, details), now_, 0), absl::Seconds(20));
  details.retry_delay = absl::Milliseconds(1);
  EXPECT_EQ(retries.After(WithDetails(kGone, details), now_, 0), absl::Seconds(1));
}

TEST_F(RetriesTest, TheTimeoutIsThatOfAllAttempts) {
  Retries retries = Make(Policy(5), absl::Seconds(3));
  EXPECT_EQ(retries.OptionsAt(now_).timeout, absl::Seconds(3));
  EXPECT_EQ(retries.After(kGone, now_ + absl::Seconds(1), 0), absl::Seconds(0.5));
  EXPECT_EQ(retries.OptionsAt(now_ + absl::Seconds(1.5)).timeout, absl::Seconds(1.5));
  EXPECT_EQ(retries.OptionsAt(now_ + absl::Seconds(1.5)).request_id, "r-1");
  EXPECT_EQ(retries.OptionsAt(now_ + absl::Seconds(9)).timeout, absl::Nanoseconds(1)) << "not none";
  EXPECT_EQ(retries.After(kGone, now_ + absl::Seconds(2), 0), std::nullopt) << "no time is left";
}

// --- the calls

class RetryTest : public ::testing::Test {
 protected:
  RetryTest() {
    request_.num_samples = 2;
    request_.states.every_n_steps = 1;
  }

  Client MakeClient(int attempts) {
    return Client(
        WithRetries(server_, Policy(attempts), absl::InfiniteDuration(), timer_, [] { return 0; }));
  }

  // Plays `scripts`, one an attempt, and keeps what was asked.
  void Play(std::vector<Script<Event>> scripts) {
    server_->on_sample = [this, scripts](const SampleRequest& request, const CallOptions&) {
      MutexLock lock(&mutex_);
      asked_.push_back(request);
      return scripts[asked_.size() - 1];
    };
  }

  Script<Event> Whole(uint32_t steps = 3) {
    SampleRequest request = request_;
    request.seed = 77;
    return {.events = ChainOf(request, kShape, steps)};
  }
  // The first `count` events of the chain, then UNAVAILABLE.
  Script<Event> Broken(size_t count) {
    Script<Event> script = Whole();
    script.events.resize(count);
    script.status = kGone;
    return script;
  }

  // "A", "R" and sample.step of the events, and the code of an error.
  static std::string Word(const Event& event) {
    if (std::holds_alternative<Accepted>(event)) return "A";
    if (std::holds_alternative<Result>(event)) return "R";
    const auto& state = std::get<State>(event);
    return std::to_string(state.sample_index) + "." + std::to_string(state.step);
  }
  static std::vector<std::string> Read(SampleStream& stream) {
    std::vector<std::string> words;
    for (auto& event : stream) {
      words.push_back(event.ok() ? Word(*event) : absl::StatusCodeToString(event.status().code()));
    }
    return words;
  }
  // What a caller reads whose request is made again after each of these pauses.
  std::vector<std::string> ReadOver(const std::vector<absl::Duration>& pauses) {
    auto words = std::async(std::launch::async, [&] {
      SampleStream stream = MakeClient(static_cast<int>(pauses.size()) + 1).Sample(request_);
      return Read(stream);
    });
    for (const absl::Duration pause : pauses) {
      EXPECT_EQ(timer_->Next(), pause);
      timer_->Pass();
    }
    return words.get();
  }

  SampleRequest request_;
  const std::shared_ptr<FakeConnection> server_ = std::make_shared<FakeConnection>();
  const std::shared_ptr<FakeTimer> timer_ = std::make_shared<FakeTimer>();
  Mutex mutex_;
  std::vector<SampleRequest> asked_;
};

TEST_F(RetryTest, AStreamThatBreaksGoesOnWithWhatWasNotSeen) {
  Play({Broken(4), Broken(1), Whole()});
  EXPECT_THAT(ReadOver({absl::Seconds(0.5), absl::Seconds(1)}),
              ElementsAre("A", "0.1", "1.1", "0.2", "1.2", "0.3", "1.3", "R"));
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_FALSE(asked_[0].seed.has_value());
  for (int i : {1, 2}) {
    EXPECT_EQ(asked_[i].seed, 77u) << "the one that Accepted told";
    EXPECT_EQ(asked_[i].model, "fake");
    EXPECT_EQ(asked_[i].model_version, 1);
    EXPECT_EQ(asked_[i].num_samples, 2u);
  }
}

TEST_F(RetryTest, BeforeAcceptedTheRequestStaysAsItIs) {
  Play({{.events = {}, .status = kGone}, Whole()});
  EXPECT_EQ(ReadOver({absl::Seconds(0.5)}).size(), 8u);
  EXPECT_FALSE(asked_[1].seed.has_value());
}

TEST_F(RetryTest, StepsThatWereLostStayLost) {
  Script<Event> first = Broken(6);
  first.events.erase(first.events.begin() + 2);  // 1.1: its reader was slow
  Play({first, Whole()});
  EXPECT_THAT(ReadOver({absl::Seconds(0.5)}),
              ElementsAre("A", "0.1", "0.2", "1.2", "0.3", "1.3", "R"));
}

TEST_F(RetryTest, TheLastErrorIsTold) {
  Play({Broken(1), Broken(1)});
  EXPECT_THAT(ReadOver({absl::Seconds(0.5)}), ElementsAre("A", "UNAVAILABLE"));
}

TEST_F(RetryTest, AnotherChainIsAborted) {
  Script<Event> other = Whole(4);
  other.hold = true;
  Play({Broken(2), other});
  EXPECT_THAT(ReadOver({absl::Seconds(0.5)}), ElementsAre("A", "0.1", "ABORTED"));
  EXPECT_EQ(server_->cancelled(), 1);
}

TEST_F(RetryTest, OtherErrorsAreToldAtOnce) {
  Play({{.events = {}, .status = absl::InvalidArgumentError("no")}});
  SampleStream stream = MakeClient(5).Sample(request_);
  EXPECT_THAT(Read(stream), ElementsAre("INVALID_ARGUMENT"));
}

TEST_F(RetryTest, APauseCanBeCancelled) {
  Play({Broken(1)});
  SampleStream stream = MakeClient(2).Sample(request_);
  auto words = std::async(std::launch::async, [&] { return Read(stream); });
  timer_->Next();
  stream.Cancel();
  EXPECT_THAT(words.get(), ElementsAre("A", "CANCELLED"));
  EXPECT_EQ(asked_.size(), 1u);
}

// --- callbacks

class CallbackRetryTest : public RetryTest {
 protected:
  AsyncCall Call(Client& client) {
    return client.SampleAsync(
        request_,
        {.on_event = [&](Event event) { heard_.push_back(Word(event)); }, .on_done = done_.Hear()});
  }
  std::vector<std::string> heard_;
  Done done_;
};

TEST_F(CallbackRetryTest, GoesOnWithWhatWasNotSeen) {
  for (const bool paced : {false, true}) {
    asked_.clear();
    heard_.clear();
    Play({Broken(4), Whole()});
    Done done;
    SampleCallbacks callbacks = {.on_done = done.Hear()};
    if (paced) {
      callbacks.on_event_paced = [&](Event event, std::function<void()> next) {
        heard_.push_back(Word(event));
        next();
      };
    } else {
      callbacks.on_event = [&](Event event) { heard_.push_back(Word(event)); };
    }
    Client client = MakeClient(2);
    client.SampleAsync(request_, std::move(callbacks));
    EXPECT_EQ(timer_->Next(), absl::Seconds(0.5));
    timer_->Pass();
    EXPECT_TRUE(done.Wait().ok());
    EXPECT_THAT(heard_, ElementsAre("A", "0.1", "1.1", "0.2", "1.2", "0.3", "1.3", "R"));
    EXPECT_EQ(asked_[1].seed, 77u);
  }
}

TEST_F(CallbackRetryTest, APauseCanBeCancelled) {
  Play({Broken(1)});
  Client client = MakeClient(2);
  const AsyncCall call = Call(client);
  timer_->Next();
  call.Cancel();
  EXPECT_TRUE(absl::IsCancelled(done_.Wait()));
  EXPECT_THAT(heard_, ElementsAre("A"));
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(CallbackRetryTest, AnAttemptCanBeCancelled) {
  Script<Event> held = Whole();
  held.events.resize(1);
  held.hold = true;
  Play({Broken(1), held});
  std::promise<void> second;
  server_->on_sample = [&, play = server_->on_sample](const auto& request, const auto& options) {
    auto script = play(request, options);
    if (script.hold) second.set_value();
    return script;
  };
  Client client = MakeClient(2);
  const AsyncCall call = Call(client);
  timer_->Next();
  timer_->Pass();
  second.get_future().get();
  call.Cancel();
  EXPECT_TRUE(absl::IsCancelled(done_.Wait()));
  EXPECT_EQ(server_->cancelled(), 1);
}

TEST_F(CallbackRetryTest, AnotherChainIsAborted) {
  Script<Event> other = Whole();
  std::get<Accepted>(other.events[0]).alpha_bars.back() = 0.5;
  Play({Broken(2), other});
  Client client = MakeClient(2);
  Call(client);
  timer_->Next();
  timer_->Pass();
  EXPECT_TRUE(absl::IsAborted(done_.Wait()));
  EXPECT_THAT(heard_, ElementsAre("A", "0.1"));
}

// --- the other calls

TEST_F(RetryTest, StatesOfDiffuseComeOnce) {
  int attempts = 0;
  server_->on_diffuse = [&](const DiffuseRequest& request, const CallOptions&) {
    Script<DiffuseEvent> script;
    Accepted accepted;
    accepted.seed = 5;
    script.events.push_back(accepted);
    for (uint32_t step : {1, 2, 3}) {
      State state;
      state.step = step;
      script.events.push_back(state);
    }
    if (++attempts == 1) {
      script.events.resize(3);
      script.status = kGone;
    } else {
      EXPECT_EQ(request.seed, 5u);
      std::swap(script.events[1], script.events[3]);  // in any order
    }
    return script;
  };
  auto steps = std::async(std::launch::async, [&] {
    std::vector<uint32_t> seen;
    for (auto& event : MakeClient(2).Diffuse({})) {
      if (const auto* state = std::get_if<State>(&*event)) seen.push_back(state->step);
    }
    return seen;
  });
  timer_->Next();
  timer_->Pass();
  EXPECT_THAT(steps.get(), ElementsAre(1, 2, 3));
}

TEST_F(RetryTest, TermsOfEvaluateComeOnce) {
  int attempts = 0;
  server_->on_evaluate = [&](const EvaluateRequest& request, const CallOptions&) {
    Script<EvaluateEvent> script;
    Accepted accepted;
    accepted.seed = 5;
    script.events.push_back(accepted);
    for (uint32_t t : {9, 4, 0}) {
      Term term;
      term.timestep = t;
      script.events.push_back(term);
    }
    script.events.push_back(Likelihood{});
    if (++attempts == 1) {
      script.events.resize(2);
      script.status = kGone;
    }
    return script;
  };
  std::vector<uint32_t> seen;
  Done done;
  Client client = MakeClient(2);
  client.EvaluateAsync({}, {.on_event =
                                [&](EvaluateEvent event) {
                                  if (const auto* term = std::get_if<Term>(&event)) {
                                    seen.push_back(term->timestep);
                                  }
                                },
                            .on_done = done.Hear()});
  timer_->Next();
  timer_->Pass();
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_THAT(seen, ElementsAre(9, 4, 0));
}

// Fails `failures` times, then has one model.
class FlakyConnection : public FakeConnection {
 public:
  explicit FlakyConnection(int failures) : failures_(failures) { models.resize(1); }
  absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options) override {
    if (failures_-- > 0) return kGone;
    return FakeConnection::ListModels(options);
  }
  absl::StatusOr<bool> Healthy(const std::string&, const CallOptions&) override { return kGone; }

 private:
  int failures_;
};

TEST_F(RetryTest, UnaryCallsToo) {
  Client client(WithRetries(std::make_shared<FlakyConnection>(1), Policy(2),
                            absl::InfiniteDuration(), timer_, [] { return 0; }));
  auto models = std::async(std::launch::async, [&] { return client.ListModels(); });
  EXPECT_EQ(timer_->Next(), absl::Seconds(0.5));
  timer_->Pass();
  EXPECT_EQ(models.get()->size(), 1u);
}

TEST_F(RetryTest, HealthIsAskedOnce) {
  Client client(WithRetries(std::make_shared<FlakyConnection>(1), Policy(5),
                            absl::InfiniteDuration(), timer_, [] { return 0; }));
  EXPECT_TRUE(absl::IsUnavailable(client.Healthy().status()));
}

}  // namespace
}  // namespace denoise
