// The Open Inference Protocol over real sockets: answers, streams, cancels, drain, statistics.
#include "server/rpc/inference/inference_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inference/grpc_service.grpc.pb.h"
#include "prometheus/counter.h"
#include "server/media/png.h"
#include "server/rpc/inference/infer_stream_reactor.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/inference/infer_message.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using inference::GRPCInferenceService;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Message = inference::ModelInferRequest;
using Response = inference::ModelInferResponse;

Message Infer(const std::string& id = "") {
  Message message;
  message.set_model_name("digits");
  message.set_id(id);
  AddFloats("x", {2, 1, 2, 3}, std::vector<float>(12, 0.5f), &message);
  AddFloats("timestep", {2}, {5, 6}, &message);
  return message;
}

Message Sample(const std::string& id = "", uint32_t steps = 4) {
  Message message;
  message.set_model_name("digits.sample");
  message.set_id(id);
  AddRaw("steps", "UINT32", {1}, BytesOf(std::vector<uint32_t>{steps}), &message);
  AddRaw("seed", "UINT64", {1}, BytesOf(std::vector<uint64_t>{77}), &message);
  return message;
}

Message WithStates(Message message) {
  (*message.mutable_parameters())["every_n_steps"].set_int64_param(1);
  return message;
}

std::vector<float> FloatsIn(const Response& response, int output) {
  const std::string& bytes = response.raw_output_contents(output);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// A stream, as a caller has it.
struct Stream {
  explicit Stream(GRPCInferenceService::Stub* stub) : io(stub->ModelStreamInfer(&context)) {}
  // One without content at the end.
  inference::ModelStreamInferResponse Next() {
    inference::ModelStreamInferResponse response;
    if (!io->Read(&response)) response.Clear();
    return response;
  }
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<Message, inference::ModelStreamInferResponse>> io;
};

class InferenceServiceTest : public ServiceTest {
 protected:
  void Start() { Start(Setup()); }
  void Start(Setup setup) {
    StartServer(std::move(setup));
    infer_ = GRPCInferenceService::NewStub(NewChannel());
  }

  // A call of ModelInfer on a thread of its own.
  struct Unary {
    Unary(GRPCInferenceService::Stub* stub, Message message) {
      thread = std::thread([this, stub, message = std::move(message)] {
        status = stub->ModelInfer(&context, message, &response);
      });
    }
    ~Unary() { Join(); }
    grpc::Status Join() {
      if (thread.joinable()) thread.join();
      return status;
    }
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::thread thread;
  };

  grpc::Status Refusal(const Message& message) {
    Unary call(infer_.get(), message);
    return call.Join();
  }

  inference::ModelStatistics Statistics(const std::string& model) {
    grpc::ClientContext context;
    inference::ModelStatisticsRequest request;
    inference::ModelStatisticsResponse response;
    request.set_name(model);
    EXPECT_TRUE(infer_->ModelStatistics(&context, request, &response).ok());
    EXPECT_EQ(response.model_stats_size(), 1);
    return response.model_stats(0);
  }

  std::unique_ptr<GRPCInferenceService::Stub> infer_;
};

TEST_F(InferenceServiceTest, AnswersAnInference) {
  Start();
  Unary call(infer_.get(), Infer("mine"));
  const auto request = engine_->Next();
  EXPECT_EQ(request->only_row.size(), 2u);
  request->stream->Finish(0, std::vector<float>(6, 1));
  request->stream->Finish(1, std::vector<float>(6, 2));
  ASSERT_TRUE(call.Join().ok()) << call.status.error_message();
  EXPECT_EQ(call.response.model_name(), "digits");
  EXPECT_EQ(call.response.model_version(), "1");
  EXPECT_EQ(call.response.id(), "mine");
  ASSERT_EQ(call.response.outputs_size(), 1);
  EXPECT_EQ(call.response.outputs(0).name(), "out");
  EXPECT_EQ(call.response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(call.response.outputs(0).shape(), ElementsAre(2, 1, 2, 3));
  EXPECT_THAT(FloatsIn(call.response, 0), ElementsAre(1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2));
  EXPECT_EQ(call.response.parameters_size(), 0);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelInfer", "OK", 1)));
}

TEST_F(InferenceServiceTest, AnswersSamplesAndPictures) {
  Start();
  Message message = Sample();
  for (const char* name : {"png", "sample"}) message.add_outputs()->set_name(name);
  Unary call(infer_.get(), message);
  const auto request = engine_->Next();
  EXPECT_EQ(request->seed, 77u);
  EXPECT_EQ(request->table->total_steps, 4u);
  FinishAll(*request, 0.25f);
  ASSERT_TRUE(call.Join().ok()) << call.status.error_message();
  ASSERT_EQ(call.response.outputs_size(), 2);
  EXPECT_EQ(call.response.outputs(0).datatype(), "BYTES");
  EXPECT_EQ(call.response.raw_output_contents(0),
            Element(*EncodePng(std::vector<float>(6, 0.25f), 1, 2, 3, -1, 1)));
  EXPECT_EQ(FloatsIn(call.response, 1), std::vector<float>(6, 0.25f));
  EXPECT_EQ(call.response.parameters().at("seed").uint64_param(), 77u);
}

TEST_F(InferenceServiceTest, AnswersWhatIsDecodedInItsOwnShape) {
  Start({.model = WithDecoder()});
  Message message = Sample();
  message.set_model_name("latent.sample");
  AddRaw("decode", "BOOL", {1}, "\x01", &message);
  for (const char* name : {"png", "sample"}) message.add_outputs()->set_name(name);
  Unary call(infer_.get(), message);
  const auto request = engine_->Next();
  const std::vector<float> decoded(3 * 4 * 6, 0.25f);
  request->stream->Finish(0, decoded);
  ASSERT_TRUE(call.Join().ok()) << call.status.error_message();
  EXPECT_EQ(call.response.raw_output_contents(0), Element(*EncodePng(decoded, 3, 4, 6, 0, 1)));
  EXPECT_THAT(call.response.outputs(1).shape(), ElementsAre(1, 3, 4, 6));
  EXPECT_EQ(FloatsIn(call.response, 1), decoded);
}

TEST_F(InferenceServiceTest, RefusesWithTheCodesThatClientsExpect) {
  Start();
  Message unknown = Infer();
  unknown.set_model_name("cats");
  EXPECT_EQ(Refusal(unknown).error_code(), grpc::StatusCode::NOT_FOUND);

  Message steps = Sample("", 5000);
  const grpc::Status status = Refusal(steps);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("inputs[\"steps\"]: 5000 is not in 1..100"));
  EXPECT_EQ(DetailsOf(status).bad_request->field_violations(0).field(), "inputs[\"steps\"]");

  Message parameter = Infer();
  (*parameter.mutable_parameters())["priority"].set_uint64_param(1);
  EXPECT_THAT(Refusal(parameter).error_message(), HasSubstr("parameters[\"priority\"]"));

  Message output = Infer();
  output.add_outputs()->set_name("logits");
  EXPECT_THAT(Refusal(output).error_message(), HasSubstr("outputs[\"logits\"]"));

  Message states = WithStates(Sample());
  EXPECT_THAT(Refusal(states).error_message(), HasSubstr("call ModelStreamInfer"));

  Message shared = Infer();
  shared.add_outputs()->set_name("out");
  auto& place = *shared.mutable_outputs(0)->mutable_parameters();
  place["shared_memory_region"].set_string_param("out");
  place["shared_memory_byte_size"].set_int64_param(48);
  EXPECT_EQ(Refusal(shared).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelInfer", "INVALID_ARGUMENT", 4)));
}

TEST_F(InferenceServiceTest, ACancelFreesTheChains) {
  Start();
  Unary call(infer_.get(), Sample());
  const auto request = engine_->Next();
  call.context.TryCancel();
  EXPECT_EQ(call.Join().error_code(), grpc::StatusCode::CANCELLED);
  engine_->WaitFor([&] { return request->stream->ended(); });
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelInfer", "CANCELLED", 1)));
}

TEST_F(InferenceServiceTest, TheTimeoutIsADeadline) {
  Start();
  Message message = Infer();
  (*message.mutable_parameters())["timeout"].set_int64_param(3'600'000'000);  // microseconds
  Unary call(infer_.get(), message);
  const auto request = engine_->Next();
  ASSERT_TRUE(request->deadline.has_value());
  EXPECT_EQ(*request->deadline - request->arrival, std::chrono::hours(1));
  FinishAll(*request, 0);
  EXPECT_TRUE(call.Join().ok());

  Message late = Infer();
  (*late.mutable_parameters())["timeout"].set_int64_param(0);
  EXPECT_EQ(Refusal(late).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(InferenceServiceTest, AFullQueueSaysWhenToComeBack) {
  Start({.max_waiting = 1});
  Unary first(infer_.get(), Infer());
  while (queue_->requests_waiting() == 0) std::this_thread::yield();
  const grpc::Status status = Refusal(Infer());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(DetailsOf(status).retry.has_value());
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(first.Join().ok());
}

TEST_F(InferenceServiceTest, AStreamCarriesManyInferences) {
  Start();
  Stream stream(infer_.get());
  stream.io->Write(WithStates(Sample("a")));
  const auto a = engine_->Next();
  stream.io->Write(Infer("b"));
  const auto b = engine_->Next();
  Message bad = Infer("c");
  bad.set_model_name("cats");
  stream.io->Write(bad);

  // What is ready first comes first.
  auto response = stream.Next();
  EXPECT_EQ(response.infer_response().id(), "c");
  EXPECT_THAT(response.error_message(), HasSubstr("\"cats\" is not served here"));

  PublishState(*a, 0, 1, Content::kXt, 0.5f);
  response = stream.Next();
  EXPECT_EQ(response.error_message(), "");
  EXPECT_EQ(response.infer_response().id(), "a");
  EXPECT_FALSE(response.infer_response().parameters().at("triton_final_response").bool_param());
  ASSERT_EQ(response.infer_response().outputs_size(), 4);
  EXPECT_EQ(response.infer_response().outputs(0).name(), "x_t");
  EXPECT_EQ(FloatsIn(response.infer_response(), 0), std::vector<float>(6, 0.5f));
  EXPECT_EQ(response.infer_response().outputs(2).name(), "step");
  EXPECT_EQ(response.infer_response().raw_output_contents(2), std::string("\1\0\0\0", 4));
  EXPECT_EQ(FloatsIn(response.infer_response(), 3), std::vector<float>{99});

  FinishAll(*b, 2);
  response = stream.Next();
  EXPECT_EQ(response.infer_response().id(), "b");
  EXPECT_TRUE(response.infer_response().parameters().at("triton_final_response").bool_param());

  PublishState(*a, 0, 2, Content::kPredictedX0, 0.75f);
  response = stream.Next();
  EXPECT_EQ(response.infer_response().outputs(0).name(), "predicted_x_0");

  stream.io->WritesDone();
  FinishAll(*a, 1);
  response = stream.Next();
  EXPECT_EQ(response.infer_response().outputs(0).name(), "sample");
  EXPECT_TRUE(response.infer_response().parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(stream.Next().infer_response().id(), "");
  EXPECT_TRUE(stream.io->Finish().ok());
  EndServer();
  const std::string text = metrics_.Text();
  EXPECT_THAT(text, HasSubstr(Count("ModelStreamInfer", "OK", 2)));
  EXPECT_THAT(text, HasSubstr(Count("ModelStreamInfer", "NOT_FOUND", 1, "")));
  EXPECT_THAT(text, HasSubstr("denoise_states_sent_total 2"));
}

TEST_F(InferenceServiceTest, AnInferenceThatFailsLeavesTheOthers) {
  Start();
  Stream stream(infer_.get());
  stream.io->Write(Sample("a"));
  const auto a = engine_->Next();
  stream.io->Write(Infer("b"));
  const auto b = engine_->Next();
  a->stream->Fail(
      absl::InternalError("sample_index 0, step 1: the denoiser's answer is not finite"));
  auto response = stream.Next();
  EXPECT_EQ(response.infer_response().id(), "a");
  EXPECT_THAT(response.error_message(), HasSubstr("not finite"));
  FinishAll(*b, 0);
  EXPECT_EQ(stream.Next().infer_response().id(), "b");
  stream.io->WritesDone();
  EXPECT_TRUE(stream.io->Finish().ok());
}

TEST_F(InferenceServiceTest, CancellingAStreamFreesAllItsChains) {
  Start();
  Stream stream(infer_.get());
  stream.io->Write(WithStates(Sample("a")));
  const auto a = engine_->Next();
  stream.io->Write(Infer("b"));
  const auto b = engine_->Next();
  stream.context.TryCancel();
  EXPECT_EQ(stream.io->Finish().error_code(), grpc::StatusCode::CANCELLED);
  engine_->WaitFor([&] { return a->stream->ended() && b->stream->ended(); });
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelStreamInfer", "CANCELLED", 2)));
}

TEST_F(InferenceServiceTest, TheDeadlineOfAStreamEndsItsInferences) {
  Start();
  grpc::ClientContext context;
  // Below a second, so that gRPC sends it as it is.
  context.set_deadline(In(std::chrono::milliseconds(900)));
  auto io = infer_->ModelStreamInfer(&context);
  io->Write(Infer("a"));
  const auto a = engine_->Next();
  EXPECT_EQ(io->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  engine_->WaitFor([&] { return a->stream->ended(); });
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelStreamInfer", "DEADLINE_EXCEEDED", 1)));
}

TEST_F(InferenceServiceTest, AStreamIsReadNoFurtherThanItIsAnswered) {
  Start({.max_waiting = 2 * InferStreamReactor::kMaxInferences});
  constexpr size_t kSent = InferStreamReactor::kMaxInferences + 10;
  Stream stream(infer_.get());
  for (size_t i = 0; i < kSent; ++i) stream.io->Write(Infer(absl::StrCat(i)));
  stream.io->WritesDone();
  while (queue_->requests_waiting() < InferStreamReactor::kMaxInferences) {
    std::this_thread::yield();
  }
  EXPECT_EQ(queue_->requests_waiting(), InferStreamReactor::kMaxInferences);
  for (size_t i = 0; i < kSent; ++i) {
    FinishAll(*engine_->Next(), 0);
    EXPECT_EQ(stream.Next().infer_response().id(), absl::StrCat(i));
  }
  EXPECT_TRUE(stream.io->Finish().ok());
}

TEST_F(InferenceServiceTest, DrainingRefusesAndLetsRunningOnesEnd) {
  Start();
  Stream stream(infer_.get());
  stream.io->Write(Infer("a"));
  const auto a = engine_->Next();
  inference_->Drain();
  stream.io->Write(Infer("b"));
  EXPECT_THAT(stream.Next().error_message(), HasSubstr("shutting down"));
  EXPECT_EQ(Refusal(Infer()).error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext context;
  inference::ServerReadyResponse ready;
  EXPECT_TRUE(infer_->ServerReady(&context, {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  FinishAll(*a, 0);
  EXPECT_EQ(stream.Next().infer_response().id(), "a");
  stream.io->WritesDone();
  EXPECT_TRUE(stream.io->Finish().ok());
}

TEST_F(InferenceServiceTest, AReaderThatStallsIsCutOff) {
  ModelInfo model = TestModel();
  model.shape = {1, 512, 512};  // a megabyte a state
  Start({.model = model, .write_timeout = std::chrono::milliseconds(200)});
  Stream stream(infer_.get());
  stream.io->Write(WithStates(Sample("a")));
  const auto a = engine_->Next();
  for (uint32_t step = 1; step <= 4; ++step) PublishState(*a, 0, step, Content::kXt, 0);
  engine_->WaitFor([&] { return a->stream->ended(); });
  while (stream.Next().has_infer_response()) {
  }
  EXPECT_EQ(stream.io->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelStreamInfer", "CANCELLED", 1)));
}

TEST_F(InferenceServiceTest, CountsWhatInferencesTook) {
  Start();
  for (const bool good : {true, true, false}) {
    Unary call(infer_.get(), Infer());
    const auto request = engine_->Next();
    if (good) {
      FinishAll(*request, 0);
    } else {
      request->stream->Fail(absl::InternalError("no"));
    }
    EXPECT_EQ(call.Join().ok(), good);
  }
  Unary call(infer_.get(), Sample());
  FinishAll(*engine_->Next(), 0);
  EXPECT_TRUE(call.Join().ok());
  // A call is counted when gRPC is done with it.
  while (inference_->calls_in_flight() > 0) std::this_thread::yield();

  metrics_.ForModel("digits").rows_total->Increment(12);
  metrics_.ForModel("digits").batches_total->Increment(3);
  const inference::ModelStatistics denoiser = Statistics("digits");
  EXPECT_EQ(denoiser.version(), "1");
  EXPECT_EQ(denoiser.inference_count(), 12u);
  EXPECT_EQ(denoiser.execution_count(), 3u);
  EXPECT_EQ(denoiser.inference_stats().success().count(), 2u);
  EXPECT_EQ(denoiser.inference_stats().fail().count(), 1u);
  EXPECT_EQ(denoiser.inference_stats().compute_infer().count(), 2u);
  EXPECT_GT(denoiser.inference_stats().success().ns(), 0u);
  EXPECT_GT(denoiser.last_inference(), 1'600'000'000'000u);
  const inference::ModelStatistics sampling = Statistics("digits.sample");
  EXPECT_EQ(sampling.name(), "digits.sample");
  EXPECT_EQ(sampling.inference_count(), 1u);
  EXPECT_EQ(sampling.execution_count(), 1u);
  EXPECT_EQ(sampling.inference_stats().fail().count(), 0u);
}

}  // namespace
}  // namespace denoise
