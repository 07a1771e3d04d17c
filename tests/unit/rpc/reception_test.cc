// Who is asked before what, with the bytes of a caller's message in a test's hand.
#include "server/rpc/reception.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "tests/unit/rpc/access/entries.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

// A call of any method, of which no message is sent unless a test does.
class RawCaller {
 public:
  RawCaller(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
            const std::string& token = "") {
    if (!token.empty()) context_.AddMetadata("authorization", "Bearer " + token);
    grpc::GenericStub stub(channel);
    call_ = stub.PrepareCall(&context_, path, &queue_);
    call_->StartCall(nullptr);
    Await();
  }
  ~RawCaller() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Send(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    call_->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    Await();
    Close();
  }
  void Close() {
    call_->WritesDone(nullptr);
    Await();
  }
  // Reads what comes, and drops it.
  grpc::Status End() {
    grpc::ByteBuffer answer;
    do {
      call_->Read(&answer, nullptr);
    } while (Await());
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Await();
    return status;
  }

 private:
  bool Await() {
    void* tag;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

class ReceptionTest : public ServiceTest {
 protected:
  void StartWithTokens() {
    const std::string path = testing::TempDir() + "/reception_test_tokens";
    std::ofstream(path) << Entries({{"caller", "right"}});
    auto tokens = TokenFile::Open(path, Principal(), &clock_);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    std::remove(path.c_str());
    tokens_ = *std::move(tokens);
    Setup setup;
    setup.callers.tokens = tokens_.get();
    StartServer(std::move(setup));
  }

  std::unique_ptr<TokenFile> tokens_;
};

constexpr const char* kPaths[] = {"/denoise.v1.Diffusion/Sample",
                                  "/denoise.v1.Diffusion/ListModels",
                                  "/inference.GRPCInferenceService/ModelInfer",
                                  "/inference.GRPCInferenceService/ModelStreamInfer",
                                  "/inference.GRPCInferenceService/ServerMetadata"};

TEST_F(ReceptionTest, StrangersAreRefusedBeforeTheySendAnything) {
  StartWithTokens();
  const auto channel = NewChannel();
  for (const char* path : kPaths) {
    const grpc::Status status = RawCaller(channel, path, "wrong").End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_EQ(DetailsOf(status).info->reason(), "UNAUTHENTICATED") << path;
  }
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"unauthenticated\"} 5"));
  for (const char* method :
       {"Sample", "ListModels", "ModelInfer", "ModelStreamInfer", "ServerMetadata"}) {
    EXPECT_THAT(metrics_.Text(), HasSubstr(Count(method, "UNAUTHENTICATED", 1, "")));
  }
}

TEST_F(ReceptionTest, ThoseWithATokenMaySend) {
  StartWithTokens();
  RawCaller call(NewChannel(), "/denoise.v1.Diffusion/GetModel", "right");
  call.Send("");
  EXPECT_TRUE(call.End().ok());
}

TEST_F(ReceptionTest, BytesThatAreNoMessageAreRefusedWithDetailsAndCounted) {
  StartServer();
  const auto channel = NewChannel();
  for (const char* path : {"/denoise.v1.Diffusion/Sample", "/denoise.v1.Diffusion/GetModel",
                           "/inference.GRPCInferenceService/ModelInfer"}) {
    RawCaller call(channel, path);
    call.Send("\x0a\x7f");
    const grpc::Status status = call.End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << path;
    EXPECT_EQ(DetailsOf(status).info->reason(), "MESSAGE_REFUSED") << path;
  }
  EndServer();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_requests_rejected_total{reason=\"message_refused\"} 3"));
}

TEST_F(ReceptionTest, ACallWithoutAMessageIsToldSo) {
  StartServer();
  RawCaller call(NewChannel(), "/denoise.v1.Diffusion/Sample");
  call.Close();
  const grpc::Status status = call.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("message: there is none"));
}

TEST_F(ReceptionTest, ACallThatNeverSendsItsMessageIsCutOff) {
  StartServer({.write_timeout = std::chrono::milliseconds(50)});
  const auto channel = NewChannel();
  for (const char* path :
       {"/denoise.v1.Diffusion/Sample", "/inference.GRPCInferenceService/ModelInfer"}) {
    EXPECT_EQ(RawCaller(channel, path).End().error_code(), grpc::StatusCode::CANCELLED) << path;
  }
  EndServer();
}

TEST_F(ReceptionTest, ARefusedMessageIsAnAnswerOfItsStreamWhichGoesOn) {
  StartServer();
  RawCaller call(NewChannel(), "/inference.GRPCInferenceService/ModelStreamInfer");
  call.Send("\x0a\x7f");
  EXPECT_TRUE(call.End().ok());
  EndServer();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Count("ModelStreamInfer", "INVALID_ARGUMENT", 1, "")));
}

// None is left out of the hand-made lists.
TEST_F(ReceptionTest, EveryMethodOfEveryServiceIsServed) {
  StartServer();
  const auto channel = NewChannel();
  for (const auto* file : {v1::SampleRequest::descriptor()->file(),
                           inference::ModelInferRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      const auto* service = file->service(i);
      if (service->name() == "ModelAdmin") continue;  // on a port of its own
      for (int j = 0; j < service->method_count(); ++j) {
        RawCaller call(channel, "/" + service->full_name() + "/" + service->method(j)->name());
        call.Close();
        EXPECT_NE(call.End().error_code(), grpc::StatusCode::UNIMPLEMENTED)
            << service->method(j)->full_name();
      }
    }
  }
}

}  // namespace
}  // namespace denoise
