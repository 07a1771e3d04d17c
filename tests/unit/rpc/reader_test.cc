// Readers that are slow, that stop, that cancel, that vanish, and those that are late.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "grpcpp/create_channel_posix.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

// 49 KB a state: more than a few fill the connection.
ModelInfo LargeModel() {
  ModelInfo model = TestModel();
  model.shape = {3, 64, 64};
  return model;
}

v1::SampleRequest EveryState() {
  v1::SampleRequest message;
  message.mutable_sampler()->set_steps(100);
  message.mutable_states()->set_every_n_steps(1);
  message.mutable_states()->add_content(v1::CONTENT_X_T);
  return message;
}

using ReaderTest = ServiceTest;

TEST_F(ReaderTest, SlowReaderLosesStatesAndNeverTheResult) {
  StartServer({.model = LargeModel()});
  v1::SampleRequest message = EveryState();
  message.set_num_samples(2);
  SampleCall call(stub_.get(), message);
  const auto request = engine_->Next();
  ASSERT_TRUE(call.ReadAccepted());
  for (uint32_t step = 1; step <= 100; ++step) {
    for (const uint32_t sample : {0, 1}) PublishState(*request, sample, step, Content::kXt, step);
  }
  FinishAll(*request, 0.5f);
  EXPECT_TRUE(call.End().ok());

  ASSERT_TRUE(call.rest.back().has_result());
  const v1::Result& result = call.rest.back().result();
  EXPECT_EQ(FloatsOf(result.samples()).size(), 2u * 3 * 64 * 64);
  const size_t states = call.rest.size() - 1;
  EXPECT_GT(result.states_dropped(), 0u);
  EXPECT_EQ(states + result.states_dropped(), 200u);
  std::vector<uint32_t> last(2);
  for (size_t i = 0; i < states; ++i) {
    const v1::State& state = call.rest[i].state();
    EXPECT_GT(state.step(), last[state.sample_index()]);
    last[state.sample_index()] = state.step();
    EXPECT_EQ(FloatsOf(state.tensor())[0], state.step());
  }
  EXPECT_THAT(last, testing::Each(100u));

  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(absl::StrCat("denoise_states_sent_total ", states)));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(absl::StrCat("denoise_states_dropped_total ", result.states_dropped())));
}

TEST_F(ReaderTest, DiffuseLosesNothingAndHoldsTheEngineBack) {
  StartServer({.model = LargeModel()});
  v1::DiffuseRequest message;
  SetTensor({1, 3, 64, 64}, std::vector<float>(3 * 64 * 64), message.mutable_x_0());
  for (uint32_t t = 0; t < 100; ++t) message.add_timesteps(t);
  message.set_chain(true);
  grpc::ClientContext context;
  const auto reader = stub_->Diffuse(&context, message);
  const auto request = engine_->Next();

  // As an engine does: on only while there is room.
  bool was_full = false;
  uint32_t step = 1;
  for (; step <= 100 && !was_full; ++step) {
    PublishState(*request, 0, step, Content::kXt, step);
    was_full = !request->stream->HasRoom();
  }
  EXPECT_TRUE(was_full);  // nobody has read yet
  std::thread engine([&] {
    for (; step <= 100; ++step) {
      engine_->WaitFor([&] { return request->stream->HasRoom(); });
      PublishState(*request, 0, step, Content::kXt, step);
    }
    request->stream->Finish(0, {});
  });
  v1::DiffuseEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_TRUE(event.has_accepted());
  uint32_t expected = 1;
  while (reader->Read(&event)) EXPECT_EQ(event.state().step(), expected++);
  EXPECT_EQ(expected, 101u);
  EXPECT_TRUE(reader->Finish().ok());
  engine.join();
}

TEST_F(ReaderTest, CancelWhileQueued) {
  StartServer();
  SampleCall call(stub_.get(), {});
  ASSERT_TRUE(call.ReadAccepted());
  EXPECT_EQ(queue_->requests_waiting(), 1u);
  call.context.TryCancel();
  engine_->WaitFor([&] { return queue_->requests_waiting() == 0; });
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::CANCELLED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "CANCELLED", 1)));
}

TEST_F(ReaderTest, CancelWhileRunning) {
  StartServer();
  SampleCall call(stub_.get(), EveryState());
  const auto request = engine_->Next();
  PublishState(*request, 0, 1, Content::kXt, 1);
  ASSERT_TRUE(call.ReadAccepted());
  ASSERT_TRUE(call.Next().has_state());
  EXPECT_FALSE(request->stream->ended());
  call.context.TryCancel();
  engine_->WaitFor([&] { return request->stream->ended(); });
  PublishState(*request, 0, 2, Content::kXt, 2);  // too late, and harmless
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::CANCELLED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "CANCELLED", 1)));
}

TEST_F(ReaderTest, CancelRacesTheEnd) {
  StartServer({.max_waiting = 1000});
  constexpr int kCalls = 200;
  std::thread engine([&] {
    while (const auto request = engine_->Next()) {
      PublishState(*request, 0, 1, Content::kXt, 1);
      FinishAll(*request, 0);
    }
  });
  int ok = 0;
  for (int i = 0; i < kCalls; ++i) {
    SampleCall call(stub_.get(), EveryState());
    for (int events = i % 4; events > 0; --events) call.Next();
    // Pulled or still queued; a queued one that is cancelled never reaches the engine.
    if (i % 4 > 1) call.context.TryCancel();
    const grpc::Status status = call.End();
    if (status.ok()) ++ok;
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::CANCELLED)
        << status.error_message();
  }
  EXPECT_GE(ok, kCalls / 2);
  EndServer();
  engine_->Stop();
  engine.join();
  EXPECT_EQ(queue_->requests_waiting(), 0u);
}

TEST_F(ReaderTest, AClientThatVanishesIsNoticed) {
  StartServer();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(server_->port());
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  const int wire = dup(fd);  // the channel owns fd
  const auto stub = v1::Diffusion::NewStub(grpc::CreateInsecureChannelFromFd("vanishing", fd));
  SampleCall call(stub.get(), EveryState());
  const auto request = engine_->Next();
  ASSERT_TRUE(call.ReadAccepted());
  EXPECT_FALSE(request->stream->ended());

  shutdown(wire, SHUT_RDWR);  // no cancel, no goodbye: the connection is gone

  engine_->WaitFor([&] { return request->stream->ended(); });
  EXPECT_FALSE(call.End().ok());
  close(wire);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "CANCELLED", 1)));
}

TEST_F(ReaderTest, DeadlineWhileQueued) {
  StartServer({.model = Unmeasured(TestModel())});
  SampleCall call(stub_.get(), {}, std::chrono::milliseconds(200));
  ASSERT_TRUE(call.ReadAccepted());
  engine_->WaitFor([&] { return queue_->requests_waiting() == 0; });
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "DEADLINE_EXCEEDED", 1)));
}

TEST_F(ReaderTest, DeadlineWhileRunning) {
  StartServer({.model = Unmeasured(TestModel())});
  SampleCall call(stub_.get(), EveryState(), std::chrono::milliseconds(200));
  const auto request = engine_->Next();
  ASSERT_TRUE(request->deadline.has_value());
  const double left = SecondsBetween(request->arrival, *request->deadline);
  EXPECT_GT(left, 0);
  EXPECT_LT(left, 0.201);
  engine_->WaitFor([&] { return request->stream->ended(); });
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "DEADLINE_EXCEEDED", 1)));
}

TEST_F(ReaderTest, NoDeadlineIsNone) {
  StartServer();
  SampleCall call(stub_.get(), {});
  const auto request = engine_->Next();
  EXPECT_FALSE(request->deadline.has_value());
  FinishAll(*request, 0);
  EXPECT_TRUE(call.End().ok());
}

TEST_F(ReaderTest, AReaderThatNeverReadsIsCutOff) {
  StartServer({.model = LargeModel(), .write_timeout = std::chrono::milliseconds(100)});
  SampleCall call(stub_.get(), EveryState());
  const auto request = engine_->Next();
  for (uint32_t step = 1; step <= 100; ++step) PublishState(*request, 0, step, Content::kXt, step);
  // Its chains still run.
  engine_->WaitFor([&] { return request->stream->ended(); });
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::CANCELLED);
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "CANCELLED", 1)));
}

TEST_F(ReaderTest, AReaderThatNeverReadsTheResultIsCutOff) {
  StartServer({.model = LargeModel(), .write_timeout = std::chrono::milliseconds(100)});
  v1::SampleRequest message;
  message.set_num_samples(32);  // 1.5 MB
  SampleCall call(stub_.get(), message);
  FinishAll(*engine_->Next(), 0);
  // Nobody reads until the server has let go of the call.
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("Sample", "CANCELLED", 1)));
  EXPECT_FALSE(call.End().ok());
}

}  // namespace
}  // namespace denoise
