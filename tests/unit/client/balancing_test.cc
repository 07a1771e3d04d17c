// Several servers, over real sockets: who gets the calls, and what becomes of one that breaks.
#include <atomic>
#include <string>

#include "denoise/client.h"
#include "grpcpp/health_check_service_interface.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

class BalancingTest : public ::testing::Test {
 protected:
  BalancingTest() {
    for (int i : {0, 1}) {
      servers_[i].on_sample = [this, i](const v1::SampleRequest&) {
        ++calls_[i];
        return Answer(Chain(1, 2));
      };
    }
  }

  Client Connect(const ClientOptions& options) {
    auto client =
        Client::Connect("ipv4:" + servers_[0].address() + "," + servers_[1].address(), options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *client;
  }

  // Calls until `done`; false after very many.
  template <typename Done>
  bool CallUntil(Client& client, Done done) {
    for (int i = 0; i < 100'000; ++i) {
      if (done()) return true;
      EXPECT_TRUE(client.SampleAndWait({}).ok());
    }
    return false;
  }

  FakeServer servers_[2];
  std::atomic<int> calls_[2] = {0, 0};
};

TEST_F(BalancingTest, TheFirstThatAnswersGetsAllCalls) {
  Client client = Connect({});
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(client.SampleAndWait({}).ok());
  EXPECT_TRUE(calls_[0] == 8 || calls_[1] == 8);
}

TEST_F(BalancingTest, RoundRobinGoesToThoseThatServe) {
  ClientOptions options;
  options.balancing = Balancing::kRoundRobin;
  Client client = Connect(options);
  ASSERT_TRUE(CallUntil(client, [&] { return calls_[0] > 2 && calls_[1] > 2; }));

  auto* health = servers_[0].grpc().GetHealthCheckService();
  health->SetServingStatus("", false);
  // Until the client knows: then none of many goes there.
  int before = -1;
  ASSERT_TRUE(CallUntil(client, [&] {
    if (calls_[0] == before) return true;
    before = calls_[0];
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(client.SampleAndWait({}).ok());
    return false;
  }));

  health->SetServingStatus("", true);
  EXPECT_TRUE(CallUntil(client, [&] { return calls_[0] > before; }));
}

TEST_F(BalancingTest, ACallThatBreaksIsMadeAgain) {
  std::atomic<int> attempts = 0;
  for (FakeServer& server : servers_) {
    server.on_sample = [&](const v1::SampleRequest& request) {
      auto events = Chain(1, 2);
      if (++attempts == 1) {
        events.resize(2);
        return Answer(events, grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone"));
      }
      EXPECT_EQ(request.seed(), events[0].accepted().seed());
      return Answer(events);
    };
  }
  ClientOptions options;
  options.balancing = Balancing::kRoundRobin;
  options.retry.max_attempts = 2;
  options.retry.initial_backoff = absl::Milliseconds(1);
  Client client = Connect(options);
  int accepted = 0, states = 0, results = 0;
  for (auto& event : client.Sample({})) {
    ASSERT_TRUE(event.ok()) << event.status();
    accepted += std::holds_alternative<Accepted>(*event);
    states += std::holds_alternative<State>(*event);
    results += std::holds_alternative<Result>(*event);
  }
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(results, 1);
  int expected = 0;
  for (const auto& event : Chain(1, 2)) expected += event.has_state();
  EXPECT_EQ(states, expected);

  // By gRPC's own timers and callbacks too.
  attempts = 0;
  Done done;
  client.SampleAsync({}, {.on_event = nullptr, .on_done = done.Hear()});
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_EQ(attempts, 2);
}

}  // namespace
}  // namespace denoise
