// The service's answers: what is admitted, what is sent, how calls end.
#include "server/rpc/diffusion_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/media/png.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using DiffusionServiceTest = ServiceTest;

v1::SampleRequest WithStates(uint32_t steps, std::vector<v1::Content> content) {
  v1::SampleRequest request;
  request.mutable_sampler()->set_steps(steps);
  request.mutable_states()->set_every_n_steps(1);
  for (const v1::Content c : content) request.mutable_states()->add_content(c);
  return request;
}

TEST_F(DiffusionServiceTest, AcceptedThenStatesThenResult) {
  StartServer();
  v1::SampleRequest message = WithStates(2, {v1::CONTENT_X_T});
  message.set_num_samples(2);
  message.set_seed(77);
  SampleCall call(stub_.get(), message);
  const auto request = engine_->Next();
  for (const uint32_t step : {1, 2}) PublishState(*request, 1, step, Content::kXt, 0.5f * step);
  request->stream->AddRows(8);
  FinishAll(*request, -0.5f);

  const v1::Accepted accepted = call.Next().accepted();
  EXPECT_EQ(accepted.request_id().size(), 32u);
  EXPECT_EQ(accepted.request_id(), request->id);
  EXPECT_EQ(accepted.model(), "digits");
  EXPECT_EQ(accepted.model_version(), 1);
  EXPECT_EQ(accepted.seed(), 77u);
  EXPECT_EQ(accepted.total_steps(), 2u);
  EXPECT_THAT(accepted.timesteps(), ElementsAre(50, 0));
  ASSERT_EQ(accepted.alpha_bars_size(), 3);
  EXPECT_FLOAT_EQ(accepted.alpha_bars(0), model_->schedule.alpha_bar(50));
  EXPECT_FLOAT_EQ(accepted.alpha_bars(1), model_->schedule.alpha_bar(0));
  EXPECT_FLOAT_EQ(accepted.alpha_bars(2), 1);
  EXPECT_EQ(accepted.queue_position(), 0u);
  EXPECT_EQ(accepted.numerics_id(), "0123456789abcdef");
  // 40 active rows at 200 rows/s.
  EXPECT_EQ(accepted.estimated_wait().nanos(), 200'000'000);

  for (const uint32_t step : {1, 2}) {
    const v1::State state = call.Next().state();
    EXPECT_EQ(state.sample_index(), 1u);
    EXPECT_EQ(state.step(), step);
    EXPECT_EQ(state.total_steps(), 2u);
    EXPECT_EQ(state.timestep(), 100.0f - step);
    EXPECT_EQ(state.alpha_bar(), 0.25f);
    EXPECT_EQ(state.sigma(), 0.75f);
    EXPECT_EQ(state.content(), v1::CONTENT_X_T);
    EXPECT_THAT(state.tensor().shape(), ElementsAre(1, 1, 2, 3));
    EXPECT_THAT(FloatsOf(state.tensor()), Each(0.5f * step));
  }
  const v1::Result result = call.Next().result();
  EXPECT_THAT(result.samples().shape(), ElementsAre(2, 1, 2, 3));
  const std::vector<float> samples = FloatsOf(result.samples());
  EXPECT_EQ(samples[5], -0.5f);
  EXPECT_EQ(samples[6], 0.5f);
  EXPECT_EQ(result.states_dropped(), 0u);
  EXPECT_EQ(result.denoiser_rows(), 8u);
  EXPECT_TRUE(result.timing().has_first_state());
  EXPECT_TRUE(call.End().ok());
  EXPECT_TRUE(call.rest.empty());

  EndServer();
  const std::string metrics = metrics_.Text();
  EXPECT_THAT(metrics, HasSubstr(Count("Sample", "OK", 1)));
  EXPECT_THAT(metrics, HasSubstr("denoise_states_sent_total 2"));
  EXPECT_THAT(metrics, HasSubstr("denoise_first_state_seconds_count 1"));
}

TEST_F(DiffusionServiceTest, AcceptedSaysTheStepsThatAreMadeAgain) {
  StartServer();
  v1::SampleRequest message;
  message.mutable_sampler()->set_kind(v1::Sampler::KIND_DDIM);
  message.mutable_sampler()->set_steps(4);
  v1::Inpainting* inpainting = message.mutable_inpainting();
  for (v1::Tensor* tensor : {inpainting->mutable_image(), inpainting->mutable_mask()}) {
    SetTensor({1, 1, 2, 3}, std::vector<float>(6, 0.5f), tensor);
  }
  inpainting->set_jump_length(3);
  inpainting->set_jump_samples(2);
  SampleCall call(stub_.get(), message);
  FinishAll(*engine_->Next(), 0);
  const v1::Accepted accepted = call.Next().accepted();
  // With one step left, back by three.
  EXPECT_EQ(accepted.total_steps(), 7u);
  EXPECT_THAT(accepted.timesteps(), ElementsAre(75, 50, 25, 75, 50, 25, 0));
  ASSERT_EQ(accepted.alpha_bars_size(), 8);
  EXPECT_EQ(accepted.alpha_bars(1), accepted.alpha_bars(4));
  EXPECT_EQ(accepted.alpha_bars(7), 1);
  EXPECT_TRUE(call.End().ok());
}

TEST_F(DiffusionServiceTest, ProgressAlone) {
  StartServer();
  SampleCall call(stub_.get(), WithStates(2, {}));
  const auto request = engine_->Next();
  PublishState(*request, 0, 1, Content::kProgress, 0);
  FinishAll(*request, 0);
  ASSERT_TRUE(call.ReadAccepted());
  const v1::State state = call.Next().state();
  EXPECT_EQ(state.step(), 1u);
  EXPECT_EQ(state.content(), v1::CONTENT_UNSPECIFIED);
  EXPECT_EQ(state.data_case(), v1::State::DATA_NOT_SET);
  EXPECT_TRUE(call.End().ok());
}

TEST_F(DiffusionServiceTest, Pictures) {
  StartServer();
  v1::SampleRequest message = WithStates(2, {v1::CONTENT_PREDICTED_X_0});
  message.set_num_samples(2);
  message.set_encoding(v1::ENCODING_PNG);
  message.mutable_states()->set_encoding(v1::ENCODING_PNG);
  SampleCall call(stub_.get(), message);
  const auto request = engine_->Next();
  PublishState(*request, 0, 1, Content::kPredictedX0, 0.25f);
  FinishAll(*request, -0.5f);

  const auto png = [](float value) {
    return *EncodePng(std::vector<float>(6, value), 1, 2, 3, -1, 1);
  };
  ASSERT_TRUE(call.ReadAccepted());
  const v1::State state = call.Next().state();
  EXPECT_EQ(state.content(), v1::CONTENT_PREDICTED_X_0);
  EXPECT_EQ(state.png(), png(0.25f));
  const v1::Result result = call.Next().result();
  EXPECT_THAT(result.pngs(), ElementsAre(png(-0.5f), png(0.5f)));
  EXPECT_FALSE(result.has_samples());
  EXPECT_TRUE(call.End().ok());
}

TEST_F(DiffusionServiceTest, Diffuse) {
  StartServer();
  v1::DiffuseRequest message;
  SetTensor({1, 1, 2, 3}, std::vector<float>(6, 0.5f), message.mutable_x_0());
  for (const uint32_t t : {10, 90}) message.add_timesteps(t);
  grpc::ClientContext context;
  const auto reader = stub_->Diffuse(&context, message);
  const auto request = engine_->Next();
  EXPECT_THAT(request->start, Each(0.5f));
  for (const uint32_t step : {1, 2}) PublishState(*request, 0, step, Content::kXt, step);
  request->stream->Finish(0, {});

  v1::DiffuseEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_THAT(event.accepted().timesteps(), ElementsAre(10, 90));
  ASSERT_EQ(event.accepted().alpha_bars_size(), 2);
  EXPECT_FLOAT_EQ(event.accepted().alpha_bars(0), model_->schedule.alpha_bar(10));
  EXPECT_FLOAT_EQ(event.accepted().alpha_bars(1), model_->schedule.alpha_bar(90));
  for (const uint32_t step : {1, 2}) {
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.state().step(), step);
  }
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_TRUE(reader->Finish().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Diffuse", "OK", 1)));
}

TEST_F(DiffusionServiceTest, BadRequestsAreNotQueued) {
  StartServer();
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(1000);
  SampleCall call(stub_.get(), message);
  const grpc::Status status = call.End();
  EXPECT_TRUE(call.rest.empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.bad_request->field_violations(0).field(), "sampler.steps");
  EXPECT_EQ(details.info->reason(), "INVALID_FIELD");
  EXPECT_EQ(queue_->requests_waiting(), 0u);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "INVALID_ARGUMENT", 1)));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"invalid_field\"} 1"));
}

TEST_F(DiffusionServiceTest, UnknownModelsMakeNoLabels) {
  StartServer();
  v1::SampleRequest message;
  message.set_model("../evil\n");
  SampleCall call(stub_.get(), message);
  const grpc::Status status = call.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("\"digits\""));
  EXPECT_EQ(DetailsOf(status).info->reason(), "MODEL_NOT_FOUND");
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "NOT_FOUND", 1, "")));
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("evil")));
}

TEST_F(DiffusionServiceTest, RequestIds) {
  StartServer();
  v1::SampleEvent event;
  {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "abc-123");
    const auto reader = stub_->Sample(&context, {});
    FinishAll(*engine_->Next(), 0);
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.accepted().request_id(), "abc-123");
    while (reader->Read(&event)) {
    }
    EXPECT_TRUE(reader->Finish().ok());
  }
  for (const std::string& id : {std::string(129, 'a'), std::string("two words")}) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", id);
    const auto reader = stub_->Sample(&context, {});
    EXPECT_FALSE(reader->Read(&event));
    const grpc::Status status = reader->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), "x-request-id");
  }
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "one");
  context.AddMetadata("x-request-id", "two");
  v1::Model model;
  EXPECT_EQ(stub_->GetModel(&context, {}, &model).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(DiffusionServiceTest, FullQueueRefusesAtOnce) {
  StartServer({.max_waiting = 1});
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(100);
  SampleCall waiting(stub_.get(), message);
  ASSERT_TRUE(waiting.ReadAccepted());
  SampleCall refused(stub_.get(), message);
  const grpc::Status status = refused.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.info->reason(), "QUEUE_FULL");
  ASSERT_TRUE(details.retry.has_value());
  // 100 rows wait and 40 run, at 200 rows/s.
  EXPECT_DOUBLE_EQ(details.retry_seconds(), 0.7);

  // The one that waits is served all the same.
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(waiting.End().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"queue_full\"} 1"));
}

TEST_F(DiffusionServiceTest, ATenantsPartOfTheQueue) {
  StartServer({.callers = {.anyone = {.may_name_tenant = true, .limits = {.max_waiting = 1}}}});
  const auto call = [&](SampleCall* call, const char* tenant) {
    call->context.AddMetadata("denoise-tenant", tenant);
    call->reader = stub_->Sample(&call->context, {});
  };
  SampleCall first, second, other;
  call(&first, "alice");
  ASSERT_TRUE(first.ReadAccepted());
  call(&second, "alice");
  const grpc::Status status = second.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(status).info->reason(), "QUOTA_EXCEEDED");
  EXPECT_GT(DetailsOf(status).retry_seconds(), 0);
  call(&other, "bob");
  ASSERT_TRUE(other.ReadAccepted());
  const auto request = engine_->Next();
  EXPECT_EQ(request->tenant, "alice");
  FinishAll(*request, 0);
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(first.End().ok());
  EXPECT_TRUE(other.End().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"quota_exceeded\"} 1"));
}

TEST_F(DiffusionServiceTest, RowsASecond) {
  // A Sample of one chain has 4 rows.
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(4);
  StartServer({.callers = {.anyone = {.limits = {.rows = {.per_second = 0.01, .burst = 4}}}}});
  SampleCall first(stub_.get(), message);
  ASSERT_TRUE(first.ReadAccepted());
  SampleCall second(stub_.get(), message);
  const grpc::Status status = second.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(status).info->reason(), "QUOTA_EXCEEDED");
  EXPECT_THAT(status.error_message(), HasSubstr("4 denoiser rows"));
  EXPECT_GT(DetailsOf(status).retry_seconds(), 300) << "when they have come back";
  EXPECT_LE(DetailsOf(status).retry_seconds(), 400);
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(first.End().ok());
}

TEST_F(DiffusionServiceTest, WhatACallerMayNotAskForIsDenied) {
  StartServer({.callers = {.anyone = {.max_call = std::chrono::seconds(100)}}});
  const auto expect_denied = [](SampleCall& call, const char* field) {
    const grpc::Status status = call.End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << status.error_message();
    EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), field);
  };
  v1::SampleRequest urgent;
  urgent.set_priority(1);
  SampleCall first(stub_.get(), urgent);
  expect_denied(first, "priority");
  SampleCall longer(stub_.get(), {}, std::chrono::seconds(200));
  expect_denied(longer, "deadline");
  SampleCall named;
  named.context.AddMetadata("denoise-tenant", "me");
  named.reader = stub_->Sample(&named.context, {});
  expect_denied(named, "denoise-tenant");

  SampleCall usual(stub_.get(), {});
  ASSERT_TRUE(usual.ReadAccepted());
  const auto request = engine_->Next();
  EXPECT_TRUE(request->deadline_is_limit);
  FinishAll(*request, 0);
  EXPECT_TRUE(usual.End().ok());
}

TEST_F(DiffusionServiceTest, WhatNeverFitsInMemoryIsRefused) {
  StartServer({.memory_budget = 1000});  // less than any table
  SampleCall call(stub_.get(), {});
  const grpc::Status status = call.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), "num_samples");
  EXPECT_THAT(status.error_message(), HasSubstr("1000 are there for all requests"));
}

TEST_F(DiffusionServiceTest, WhatRequestsHoldIsInOneAccount) {
  constexpr uint64_t kBudget = 10'000;
  StartServer({.memory_budget = kBudget});
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(10);
  SampleCall first(stub_.get(), message);
  ASSERT_TRUE(first.ReadAccepted());
  const uint64_t table = memory_->used(MemoryBudget::kRequests);
  EXPECT_EQ(table, 10 * sizeof(Row));
  EXPECT_EQ(memory_->used(MemoryBudget::kResults), 6 * sizeof(float));

  SampleCall second(stub_.get(), message);
  const grpc::Status status = second.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(status).info->reason(), "MEMORY_FULL");
  EXPECT_GT(DetailsOf(status).retry_seconds(), 0);

  const auto request = engine_->Next();
  FinishAll(*request, 0);
  EXPECT_EQ(memory_->used(MemoryBudget::kRequests), table);  // until nobody has the request
  EXPECT_TRUE(first.End().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"memory_full\"} 1"));
}

TEST_F(DiffusionServiceTest, TenantsAreCheckedLikeRequestIds) {
  StartServer();
  for (const std::string& tenant : {std::string(129, 'a'), std::string("two words")}) {
    SampleCall call;
    call.context.AddMetadata("denoise-tenant", tenant);
    call.reader = stub_->Sample(&call.context, {});
    const grpc::Status status = call.End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), "denoise-tenant");
  }
}

TEST_F(DiffusionServiceTest, ADeadlineThatCannotBeMetIsRefused) {
  StartServer({.callers = {.anyone = {.max_priority = 1}}});
  // 100 steps of at least 10 ms each.
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(100);
  SampleCall refused(stub_.get(), message, std::chrono::milliseconds(500));
  const grpc::Status status = refused.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(DetailsOf(status).info->reason(), "DEADLINE_UNREACHABLE");
  EXPECT_THAT(status.error_message(), HasSubstr("at least 1s away"));
  EXPECT_GT(DetailsOf(status).retry_seconds(), 0);

  SampleCall enough(stub_.get(), message, std::chrono::seconds(60));
  ASSERT_TRUE(enough.ReadAccepted());
  // What waits before it counts: 64 chains of 100 rows at 200 rows/s.
  message.set_num_samples(64);
  SampleCall large(stub_.get(), message);
  ASSERT_TRUE(large.ReadAccepted());
  message.set_num_samples(1);
  message.set_priority(-1);
  SampleCall behind(stub_.get(), message, std::chrono::seconds(20));
  EXPECT_EQ(behind.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  message.set_priority(1);
  SampleCall ahead(stub_.get(), message, std::chrono::seconds(20));
  ASSERT_TRUE(ahead.ReadAccepted());
  EXPECT_EQ(engine_->Next()->priority, 1);
  EXPECT_EQ(queue_->requests_waiting(), 0u);
  ahead.context.TryCancel();
  enough.context.TryCancel();
  large.context.TryCancel();
  EXPECT_FALSE(ahead.End().ok());
  EXPECT_FALSE(enough.End().ok());
  EXPECT_FALSE(large.End().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"deadline_unreachable\"} 2"));
}

TEST_F(DiffusionServiceTest, QueuePositionCountsThoseBefore) {
  StartServer();
  SampleCall first(stub_.get(), {});
  ASSERT_TRUE(first.ReadAccepted());
  SampleCall second(stub_.get(), {});
  const v1::Accepted accepted = second.Next().accepted();
  EXPECT_EQ(accepted.queue_position(), 1u);
  // 20 rows wait before it and 40 run, at 200 rows/s.
  EXPECT_EQ(accepted.estimated_wait().nanos(), 300'000'000);
  for (int i = 0; i < 2; ++i) FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(first.End().ok());
  EXPECT_TRUE(second.End().ok());
}

TEST_F(DiffusionServiceTest, DrainingRefusesNewCallsAndLetsOthersEnd) {
  StartServer();
  SampleCall running(stub_.get(), {});
  const auto request = engine_->Next();
  service_->Drain();
  EXPECT_EQ(service_->calls_in_flight(), 1);

  SampleCall late(stub_.get(), {});
  const grpc::Status status = late.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.info->reason(), "DRAINING");
  EXPECT_GT(details.retry_seconds(), 0);

  FinishAll(*request, 0);
  EXPECT_TRUE(running.End().ok());
  EndServer();
}

TEST_F(DiffusionServiceTest, AModelThatIsBeingLoadedIsUnavailable) {
  StartServer();
  catalog_.Add(model_, ModelStatus::kLoading);
  SampleCall call(stub_.get(), {});
  const grpc::Status status = call.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailsOf(status).info->reason(), "MODEL_LOADING");
}

TEST_F(DiffusionServiceTest, FailuresOfTheDenoiserAreInternalAndDiscreet) {
  StartServer();
  SampleCall call(stub_.get(), WithStates(2, {v1::CONTENT_X_T}));
  const auto request = engine_->Next();
  ASSERT_TRUE(call.ReadAccepted());
  request->stream->Fail(absl::InternalError("sample_index 0: bad thing in /usr/src/op.cpp"));
  const grpc::Status status = call.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("sample_index 0"));
  EXPECT_THAT(status.error_message(), Not(HasSubstr("/usr")));
  EXPECT_EQ(DetailsOf(status).info->reason(), "INTERNAL");
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "INTERNAL", 1)));
}

TEST_F(DiffusionServiceTest, FurtherInputsAreDescribed) {
  ModelInfo served = Conditioned();
  served.config.prediction = Prediction::kV;
  StartServer({.model = std::move(served)});
  grpc::ClientContext context;
  v1::Model model;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &model).ok());
  EXPECT_EQ(model.prediction_type(), "v_prediction");
  EXPECT_EQ(model.num_classes(), 0);
  EXPECT_FALSE(model.has_null_class());
  ASSERT_EQ(model.inputs_size(), 4);
  for (const v1::ModelInput& input : model.inputs()) EXPECT_EQ(input.kind(), "condition");
  EXPECT_EQ(model.inputs(0).name(), "style");
  EXPECT_EQ(model.inputs(0).dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(model.inputs(0).shape(), ElementsAre(3));
  EXPECT_EQ(model.inputs(1).dtype(), v1::DATA_TYPE_INT64);
  EXPECT_THAT(model.inputs(1).shape(), ElementsAre(-1));
  EXPECT_EQ(model.inputs(2).dtype(), v1::DATA_TYPE_BOOL);
  EXPECT_THAT(model.inputs(2).shape(), ElementsAre(-1, 2));
  EXPECT_EQ(model.inputs(3).shape_size(), 0);
}

TEST_F(DiffusionServiceTest, ModelsAreDescribed) {
  StartServer();
  v1::ListModelsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  const v1::Model& model = response.models(0);
  EXPECT_EQ(model.name(), "digits");
  EXPECT_EQ(model.status(), v1::Model::STATUS_SERVING);
  EXPECT_THAT(model.sample_shape(), ElementsAre(1, 2, 3));
  EXPECT_EQ(model.value_min(), -1);
  EXPECT_EQ(model.value_max(), 1);
  EXPECT_EQ(model.num_classes(), 10);
  EXPECT_EQ(model.null_class(), 10);
  ASSERT_EQ(model.inputs_size(), 1);
  EXPECT_EQ(model.inputs(0).name(), "class_labels");
  EXPECT_EQ(model.inputs(0).kind(), "class_labels");
  EXPECT_EQ(model.inputs(0).dtype(), v1::DATA_TYPE_INT64);
  EXPECT_EQ(model.prediction_type(), "epsilon");
  EXPECT_EQ(model.scheduler(), "DDPMScheduler");
  EXPECT_EQ(model.num_train_timesteps(), 100u);
  ASSERT_EQ(model.alpha_bars_size(), 100);
  EXPECT_FLOAT_EQ(model.alpha_bars(99), model_->schedule.alpha_bar(99));
  EXPECT_EQ(model.default_steps(), 20u);
  EXPECT_EQ(model.default_guidance_scale(), 2);
  EXPECT_THAT(model.batch_sizes(), ElementsAre(1, 8));
  EXPECT_EQ(model.numerics_id(), "0123456789abcdef");
  ASSERT_EQ(model.tuning_size(), 1);
  const v1::TuningResult& way = model.tuning(0);
  EXPECT_EQ(way.executor(), "torchscript");
  EXPECT_EQ(way.layout(), "channels_last");
  EXPECT_EQ(way.precision(), "float32");
  EXPECT_EQ(way.replicas(), 2u);
  EXPECT_EQ(way.threads(), 3u);
  EXPECT_EQ(way.batch_size(), 8u);
  EXPECT_EQ(way.rows_per_second(), 400);
  EXPECT_EQ(way.call_seconds(), 0.04);
  EXPECT_EQ(way.relative_error(), 1e-7);
  EXPECT_TRUE(way.chosen());

  grpc::ClientContext second;
  v1::Model same;
  ASSERT_TRUE(stub_->GetModel(&second, {}, &same).ok());
  EXPECT_EQ(same.SerializeAsString(), model.SerializeAsString());

  grpc::ClientContext third;
  v1::GetModelRequest unknown;
  unknown.set_model("cats");
  const grpc::Status status = stub_->GetModel(&third, unknown, &same);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(DetailsOf(status).info->reason(), "MODEL_NOT_FOUND");
}

}  // namespace
}  // namespace denoise
