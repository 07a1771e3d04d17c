// Evaluate over the wire: what is sent, how calls end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numbers>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/diffusion/likelihood.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using EvaluateTest = ServiceTest;

v1::EvaluateRequest OfSamples(uint32_t n) {
  v1::EvaluateRequest message;
  SetTensor({n, 1, 2, 3}, std::vector<float>(n * 6, 0.5f), message.mutable_x_0());
  return message;
}

// As an engine does: notes the term of one sample, and publishes it where it was the last of them.
void AddTerm(const Request& request, uint32_t sample, size_t term, const TermValues& values) {
  std::optional<TermEvent> event = request.evaluation->Add(sample, term, values);
  if (event.has_value()) request.stream->Publish(*std::move(event));
}

// Sample i has terms of (i + 1) nats a value.
void AddTerms(const Request& request, size_t term) {
  for (uint32_t i = 0; i < request.num_samples; ++i) {
    AddTerm(request, i, term, {.nats = 6.0 * (i + 1), .eps_mse = 0.25, .x_0_mse = 0.5 * i});
  }
}

void EndAll(const Request& request) {
  for (uint32_t i = 0; i < request.num_samples; ++i) request.stream->Finish(i, {});
}

TEST_F(EvaluateTest, AcceptedThenTermsThenLikelihood) {
  StartServer({.model = Pictures()});
  v1::EvaluateRequest message = OfSamples(2);
  message.set_seed(77);
  EvaluateCall call(stub_.get(), message);
  const auto request = engine_->Next();
  for (uint32_t i = 0; i < 2; ++i) request->evaluation->SetPrior(i, 12);
  // Terms may come in any order.
  for (size_t term = 100; term-- > 0;) AddTerms(*request, term);
  EndAll(*request);

  const v1::Accepted accepted = call.Next().accepted();
  EXPECT_EQ(accepted.request_id(), request->id);
  EXPECT_EQ(accepted.model(), "digits");
  EXPECT_EQ(accepted.seed(), 77u);
  EXPECT_EQ(accepted.total_steps(), 100u);
  ASSERT_EQ(accepted.timesteps_size(), 100);
  ASSERT_EQ(accepted.alpha_bars_size(), 100);
  for (const int i : {0, 60, 99}) {
    EXPECT_EQ(accepted.timesteps(i), 99 - i);
    EXPECT_FLOAT_EQ(accepted.alpha_bars(i), model_->schedule.alpha_bar(99 - i));
  }
  EXPECT_EQ(accepted.queue_position(), 0u);
  EXPECT_EQ(accepted.estimated_wait().nanos(), 200'000'000);

  const double bits = 1 / std::numbers::ln2;  // of a nat
  for (uint32_t t = 0; t < 100; ++t) {
    const v1::Term term = call.Next().term();
    EXPECT_EQ(term.timestep(), t);
    EXPECT_THAT(term.bits_per_dim(),
                ElementsAre(testing::DoubleEq(bits), testing::DoubleEq(2 * bits)));
    EXPECT_THAT(term.eps_mse(), ElementsAre(0.25, 0.25));
    EXPECT_THAT(term.x_0_mse(), ElementsAre(0, 0.5));
  }
  const v1::Likelihood likelihood = call.Next().likelihood();
  EXPECT_THAT(likelihood.prior_bits_per_dim(), Each(testing::DoubleNear(2 * bits, 1e-12)));
  EXPECT_THAT(likelihood.total_bits_per_dim(), ElementsAre(testing::DoubleNear(102 * bits, 1e-9),
                                                           testing::DoubleNear(202 * bits, 1e-9)));
  EXPECT_THAT(likelihood.standard_error(), ElementsAre(0, 0));
  EXPECT_TRUE(call.End().ok());
  EXPECT_TRUE(call.rest.empty());

  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Evaluate", "OK", 1)));
  // Terms are no states.
  EXPECT_THAT(metrics_.Text(), HasSubstr("denoise_states_sent_total 0"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("denoise_first_state_seconds_count 0"));
}

TEST_F(EvaluateTest, AnEstimateSaysWhichTimestepsItIsOf) {
  StartServer({.model = Pictures()});
  v1::EvaluateRequest message = OfSamples(1);
  message.set_num_timesteps(8);
  EvaluateCall call(stub_.get(), message);
  const auto request = engine_->Next();
  for (size_t term = 0; term < request->table->terms.size(); ++term) {
    AddTerm(*request, 0, term, {.nats = static_cast<double>(term)});
  }
  EndAll(*request);
  const v1::Accepted accepted = call.Next().accepted();
  EXPECT_LE(accepted.timesteps_size(), 9);
  EXPECT_EQ(accepted.total_steps(), static_cast<uint32_t>(accepted.timesteps_size()));
  for (const float t : accepted.timesteps()) EXPECT_EQ(call.Next().term().timestep(), t);
  EXPECT_GT(call.Next().likelihood().standard_error(0), 0);
  EXPECT_TRUE(call.End().ok());
}

TEST_F(EvaluateTest, ItsTermsAreRowsThatOthersWaitFor) {
  StartServer({.model = Pictures()});
  EvaluateCall evaluate(stub_.get(), OfSamples(2));
  ASSERT_TRUE(evaluate.ReadAccepted());
  SampleCall sample(stub_.get(), {});
  const v1::Accepted accepted = sample.Next().accepted();
  EXPECT_EQ(accepted.queue_position(), 1u);
  // 200 rows wait before it and 40 run, at 200 rows/s.
  const auto& wait = accepted.estimated_wait();
  EXPECT_NEAR(static_cast<double>(wait.seconds()) + 1e-9 * wait.nanos(), 1.2, 1e-8);
  EndAll(*engine_->Next());
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(evaluate.End().ok());
  EXPECT_TRUE(sample.End().ok());
}

TEST_F(EvaluateTest, FullQueueRefusesAtOnce) {
  StartServer({.model = Pictures(), .max_waiting = 1});
  EvaluateCall waiting(stub_.get(), OfSamples(2));
  ASSERT_TRUE(waiting.ReadAccepted());
  EvaluateCall refused(stub_.get(), OfSamples(1));
  const grpc::Status status = refused.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(status).info->reason(), "QUEUE_FULL");
  EXPECT_DOUBLE_EQ(DetailsOf(status).retry_seconds(), 1.2);
  EndAll(*engine_->Next());
  EXPECT_TRUE(waiting.End().ok());
}

TEST_F(EvaluateTest, BadRequestsAreNotQueued) {
  StartServer();  // a model that does not say its levels
  EvaluateCall call(stub_.get(), OfSamples(1));
  const grpc::Status status = call.End();
  EXPECT_TRUE(call.rest.empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), "model");
  EXPECT_EQ(queue_->requests_waiting(), 0u);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Evaluate", "INVALID_ARGUMENT", 1)));
}

TEST_F(EvaluateTest, DrainingRefusesNewCallsAndLetsOthersEnd) {
  StartServer({.model = Pictures()});
  EvaluateCall running(stub_.get(), OfSamples(1));
  const auto request = engine_->Next();
  service_->Drain();
  EXPECT_EQ(service_->calls_in_flight(), 1);
  EvaluateCall late(stub_.get(), OfSamples(1));
  const grpc::Status status = late.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailsOf(status).info->reason(), "DRAINING");
  EndAll(*request);
  EXPECT_TRUE(running.End().ok());
  ASSERT_FALSE(running.rest.empty());
  EXPECT_TRUE(running.rest.back().has_likelihood());
}

TEST_F(EvaluateTest, CancelWhileRunning) {
  StartServer({.model = Pictures()});
  EvaluateCall call(stub_.get(), OfSamples(1));
  const auto request = engine_->Next();
  AddTerms(*request, 0);
  ASSERT_TRUE(call.ReadAccepted());
  ASSERT_TRUE(call.Next().has_term());
  EXPECT_FALSE(request->stream->ended());
  call.context.TryCancel();
  engine_->WaitFor([&] { return request->stream->ended(); });
  AddTerms(*request, 1);  // too late, and harmless
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::CANCELLED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Evaluate", "CANCELLED", 1)));
}

TEST_F(EvaluateTest, DeadlineWhileQueued) {
  StartServer({.model = Unmeasured(Pictures())});
  EvaluateCall call(stub_.get(), OfSamples(1), std::chrono::milliseconds(200));
  ASSERT_TRUE(call.ReadAccepted());
  engine_->WaitFor([&] { return queue_->requests_waiting() == 0; });
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Evaluate", "DEADLINE_EXCEEDED", 1)));
}

TEST_F(EvaluateTest, FailuresOfTheDenoiserAreInternal) {
  StartServer({.model = Pictures()});
  EvaluateCall call(stub_.get(), OfSamples(1));
  const auto request = engine_->Next();
  ASSERT_TRUE(call.ReadAccepted());
  request->stream->Fail(absl::InternalError("sample_index 0: not finite"));
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::INTERNAL);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Evaluate", "INTERNAL", 1)));
}

TEST_F(EvaluateTest, ASlowReaderLosesNothingAndHoldsTheEngineBack) {
  // 48 KB a term: more than a few fill the connection.
  constexpr uint32_t kSamples = 2000;
  StartServer({.model = Pictures(), .limits = {.max_samples = kSamples}});
  EvaluateCall call(stub_.get(), OfSamples(kSamples));
  const auto request = engine_->Next();

  bool was_full = false;
  size_t term = 0;
  for (; term < 100 && !was_full; ++term) {
    AddTerms(*request, term);
    was_full = !request->stream->HasRoom();
  }
  EXPECT_TRUE(was_full);  // nobody has read yet
  std::thread engine([&] {
    for (; term < 100; ++term) {
      engine_->WaitFor([&] { return request->stream->HasRoom(); });
      AddTerms(*request, term);
    }
    EndAll(*request);
  });
  ASSERT_TRUE(call.ReadAccepted());
  for (uint32_t t = 100; t-- > 0;) EXPECT_EQ(call.Next().term().timestep(), t);
  EXPECT_EQ(call.Next().likelihood().total_bits_per_dim_size(), static_cast<int>(kSamples));
  EXPECT_TRUE(call.End().ok());
  engine.join();
}

}  // namespace
}  // namespace denoise
