// Evaluate: its events as a stream, in one answer and by callbacks, and answers of hostile servers.
#include <functional>
#include <limits>
#include <variant>
#include <vector>

#include "client/src/stream_decoders.h"
#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

EvaluateRequest TwoSamples(uint32_t num_timesteps = 0) {
  EvaluateRequest request;
  request.x_0 = {{2, 1, 1, 1}, {0, 1}};
  request.num_timesteps = num_timesteps;
  return request;
}

using EvaluateTest = WireTest;

TEST_F(EvaluateTest, AStreamOfTerms) {
  std::vector<size_t> kinds;
  std::vector<uint32_t> timesteps;
  for (auto& event : client_.Evaluate(TwoSamples())) {
    ASSERT_TRUE(event.ok()) << event.status();
    kinds.push_back(event->index());
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      EXPECT_THAT(accepted->timesteps, ElementsAre(9, 4, 0));
      EXPECT_EQ(accepted->alpha_bars.size(), 3u);
      EXPECT_EQ(accepted->seed, 42u);
    }
    if (auto* term = std::get_if<Term>(&*event)) {
      timesteps.push_back(term->timestep);
      EXPECT_THAT(term->bits_per_dim, ElementsAre(0.25 + term->timestep, 0.25 + term->timestep));
      EXPECT_THAT(term->eps_mse, ElementsAre(0.5, 1.5));
      EXPECT_THAT(term->x_0_mse, ElementsAre(0.125, 0.125));
    }
  }
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
  EXPECT_THAT(timesteps, ElementsAre(9, 4, 0));
}

TEST_F(EvaluateTest, TheEndAlone) {
  const auto likelihood = client_.EvaluateAndWait(TwoSamples());
  ASSERT_TRUE(likelihood.ok()) << likelihood.status();
  EXPECT_THAT(likelihood->total_bits_per_dim, ElementsAre(1.5, 2.5));
  EXPECT_THAT(likelihood->prior_bits_per_dim, ElementsAre(0.0625, 0.0625));
  EXPECT_THAT(likelihood->standard_error, ElementsAre(0.03, 0.03));
}

TEST_F(EvaluateTest, ByCallbacks) {
  std::vector<size_t> kinds;
  Done done;
  client_.EvaluateAsync(TwoSamples(),
                        {.on_event = [&](EvaluateEvent event) { kinds.push_back(event.index()); },
                         .on_done = done.Hear()});
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
}

TEST_F(EvaluateTest, CancelReachesTheServer) {
  server_.HoldAfter(1);
  auto stream = client_.Evaluate(TwoSamples());
  auto it = stream.begin();
  ASSERT_TRUE(it->ok()) << it->status();
  stream.Cancel();
  ++it;
  ASSERT_NE(it, stream.end());
  EXPECT_TRUE(absl::IsCancelled(it->status()));
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(EvaluateTest, TheHandleOfCallbacksCancels) {
  server_.HoldAfter(1);
  Done done;
  const auto call = client_.EvaluateAsync(TwoSamples(), {.on_event = {}, .on_done = done.Hear()});
  call.Cancel();
  EXPECT_TRUE(absl::IsCancelled(done.Wait()));
}

TEST_F(EvaluateTest, ADeadlineEndsTheCallHereAndThere) {
  server_.HoldAfter(1);
  CallOptions options;
  options.timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(client_.EvaluateAndWait(TwoSamples(), options).status()));
  EXPECT_TRUE(CancelReachesServer());
}

using Events = std::vector<v1::EvaluateEvent>;

// What comes of a stream: the first error, or that of its end.
absl::Status Decode(const EvaluateRequest& request, const Events& events) {
  EvaluateDecoder decoder(request);
  for (const auto& wire : events) {
    const auto event = decoder.Decode(wire);
    if (!event.ok()) return event.status();
  }
  return decoder.AtEnd();
}

struct Broken {
  const char* name;
  std::function<void(Events*)> alter;  // of two samples, at 9, 4 and 0
  const char* message;
};

class BrokenEvaluationTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenEvaluationTest, IsDataLoss) {
  auto events = Terms(2, {9, 4, 0});
  ASSERT_TRUE(Decode(TwoSamples(2), events).ok());
  GetParam().alter(&events);
  const auto status = Decode(TwoSamples(2), events);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

v1::Accepted* First(Events* events) { return (*events)[0].mutable_accepted(); }
v1::Term* FirstTerm(Events* events) { return (*events)[1].mutable_term(); }
v1::Likelihood* Last(Events* events) { return events->back().mutable_likelihood(); }

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

INSTANTIATE_TEST_SUITE_P(
    All, BrokenEvaluationTest,
    ::testing::Values(
        Broken{"NoEvents", [](Events* e) { e->clear(); }, "without a likelihood"},
        Broken{"NoLikelihood", [](Events* e) { e->pop_back(); }, "without a likelihood"},
        Broken{"NoAccepted", [](Events* e) { e->erase(e->begin()); }, "out of order"},
        Broken{"AcceptedTwice", [](Events* e) { e->insert(e->begin(), e->front()); },
               "out of order"},
        Broken{"LikelihoodTwice", [](Events* e) { e->push_back(e->back()); }, "out of order"},
        Broken{"TermAfterTheLikelihood", [](Events* e) { e->push_back((*e)[1]); }, "out of order"},
        Broken{"EmptyEvent", [](Events* e) { (*e)[1].Clear(); }, "empty"},
        Broken{"NoTimesteps", [](Events* e) { First(e)->clear_timesteps(); },
               "accepted.timesteps has 0 values"},
        Broken{"MoreTermsThanWereAskedFor",
               [](Events* e) {
                 *e = Terms(2, {9, 4, 2, 0});
               },
               "accepted.timesteps has 4 values"},
        Broken{"AlphaBarsMissing", [](Events* e) { First(e)->mutable_alpha_bars()->RemoveLast(); },
               "accepted.alpha_bars has 2 values, not 3"},
        Broken{"TimestepsAscend", [](Events* e) { First(e)->set_timesteps(1, 10); }, "holds 10"},
        Broken{"TimestepsRepeat", [](Events* e) { First(e)->set_timesteps(1, 9); }, "holds 9"},
        Broken{"TimestepBelowZero", [](Events* e) { First(e)->set_timesteps(2, -1); }, "holds -1"},
        Broken{"TimestepBroken", [](Events* e) { First(e)->set_timesteps(1, 4.5f); }, "holds 4.5"},
        Broken{"TimestepHuge", [](Events* e) { First(e)->set_timesteps(0, 1e30f); }, "holds 1e+30"},
        Broken{"TimestepNaN", [](Events* e) { First(e)->set_timesteps(0, kNaN); }, "holds nan"},
        Broken{"WaitOutOfRange",
               [](Events* e) {
                 First(e)->mutable_estimated_wait()->set_seconds(
                     std::numeric_limits<int64_t>::max());
               },
               "estimated_wait"},
        Broken{"TermTwice", [](Events* e) { (*e)[2] = (*e)[1]; }, "term.timestep is 9"},
        Broken{"TermThatWasNotAnnounced", [](Events* e) { FirstTerm(e)->set_timestep(8); },
               "term.timestep is 8"},
        Broken{"TermFarOff", [](Events* e) { FirstTerm(e)->set_timestep(0xffffffff); },
               "term.timestep is 4294967295"},
        Broken{"TermMissing", [](Events* e) { e->erase(e->begin() + 2); }, "1 terms missing"},
        Broken{"BitsOfOneSample",
               [](Events* e) { FirstTerm(e)->mutable_bits_per_dim()->RemoveLast(); },
               "term.bits_per_dim has 1 values, not 2"},
        Broken{"EpsMissing", [](Events* e) { FirstTerm(e)->clear_eps_mse(); },
               "term.eps_mse has 0 values"},
        Broken{"X0OfThree", [](Events* e) { FirstTerm(e)->add_x_0_mse(0); },
               "term.x_0_mse has 3 values"},
        Broken{"BitsNaN", [](Events* e) { FirstTerm(e)->set_bits_per_dim(0, kNaN); },
               "term.bits_per_dim holds nan"},
        Broken{"EpsInfinite", [](Events* e) { FirstTerm(e)->set_eps_mse(1, kInfinity); },
               "term.eps_mse holds inf"},
        Broken{"X0BelowZero", [](Events* e) { FirstTerm(e)->set_x_0_mse(1, -1); },
               "term.x_0_mse holds -1"},
        Broken{"TotalOfThree", [](Events* e) { Last(e)->add_total_bits_per_dim(1); },
               "total_bits_per_dim has 3 values"},
        Broken{"TotalNaN", [](Events* e) { Last(e)->set_total_bits_per_dim(0, kNaN); },
               "total_bits_per_dim holds nan"},
        Broken{"PriorMissing", [](Events* e) { Last(e)->clear_prior_bits_per_dim(); },
               "prior_bits_per_dim has 0 values"},
        Broken{"ErrorBelowZero", [](Events* e) { Last(e)->set_standard_error(1, -0.5); },
               "standard_error holds -0.5"}),
    [](const auto& info) { return info.param.name; });

TEST(EvaluateDecoderTest, TermsInAnyOrderAndMoreWhereAllWereAskedFor) {
  auto events = Terms(2, {9, 4, 2, 0});
  std::swap(events[1], events[4]);
  EXPECT_TRUE(Decode(TwoSamples(), events).ok());
}

TEST(EvaluateDecoderTest, ARequestWithoutSamplesGetsNoValues) {
  EXPECT_EQ(Decode({}, Terms(1, {0})).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace denoise
