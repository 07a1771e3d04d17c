#include "server/rpc/grpc_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/service_fixture.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using Health = grpc::health::v1::Health;
using grpc::health::v1::HealthCheckResponse;

class GrpcServerTest : public ServiceTest {
 protected:
  absl::StatusOr<HealthCheckResponse::ServingStatus> Check(const std::string& name) {
    const auto stub = Health::NewStub(NewChannel());
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(name);
    HealthCheckResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->Check(&context, request, &response);
    if (!status.ok()) return absl::Status(absl::StatusCode(status.error_code()), "health");
    return response.status();
  }
};

TEST_F(GrpcServerTest, HealthIsByModel) {
  StartServer();
  EXPECT_EQ(*Check(""), HealthCheckResponse::NOT_SERVING);
  EXPECT_TRUE(absl::IsNotFound(Check("digits").status()));
  server_->SetModelServing("digits", true);
  server_->SetServing(true);
  EXPECT_EQ(*Check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(*Check("digits"), HealthCheckResponse::SERVING);
  server_->SetServing(false);
  EXPECT_EQ(*Check(""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(*Check("digits"), HealthCheckResponse::SERVING);
  EXPECT_TRUE(absl::IsNotFound(Check("cats").status()));
}

TEST_F(GrpcServerTest, HealthCanBeWatched) {
  StartServer();
  const auto stub = Health::NewStub(NewChannel());
  grpc::ClientContext context;
  const auto reader = stub->Watch(&context, {});
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  context.TryCancel();
  reader->Finish();
}

TEST_F(GrpcServerTest, WatchesOfOneNameAreTold) {
  StartServer();
  const auto stub = Health::NewStub(NewChannel());
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("digits");
  grpc::ClientContext contexts[2];
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> readers[2];
  HealthCheckResponse response;
  for (int i = 0; i < 2; ++i) {
    readers[i] = stub->Watch(&contexts[i], request);
    ASSERT_TRUE(readers[i]->Read(&response));
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  }
  server_->SetServing(true);  // of another name
  server_->SetModelServing("digits", true);
  for (auto& reader : readers) {
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  }
  contexts[0].TryCancel();
  EXPECT_EQ(readers[0]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server_->SetModelServing("digits", false);
  ASSERT_TRUE(readers[1]->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server_->Shutdown(std::chrono::system_clock::now());
  EXPECT_FALSE(readers[1]->Finish().ok());
}

TEST_F(GrpcServerTest, ABusyPortIsOneClearLine) {
  StartServer();
  GrpcServer::Options options;
  options.address = address();
  options.reception = reception_.get();
  const auto second = GrpcServer::Start(options, {service_.get()});
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use"));
}

TEST_F(GrpcServerTest, AnAddressThatIsNoneIsToldSo) {
  StartServer();
  GrpcServer::Options options;
  options.address = "192.0.2.1:0";  // of no machine (RFC 5737)
  options.reception = reception_.get();
  EXPECT_TRUE(absl::IsUnavailable(GrpcServer::Start(options, {service_.get()}).status()));
}

TEST_F(GrpcServerTest, OnlyIdentityEncodingIsTaken) {
  StartServer();
  v1::SampleRequest message;
  message.set_num_samples(2);
  SetTensor({2, 1, 2, 3}, std::vector<float>(12), message.mutable_initial_noise());
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    const auto reader = stub_->Sample(&context, message);
    v1::SampleEvent event;
    EXPECT_FALSE(reader->Read(&event));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  EXPECT_EQ(queue_->requests_waiting(), 0u);
}

TEST_F(GrpcServerTest, MessagesThatAreTooLargeAreRefused) {
  StartServer({.limits = {.max_message_bytes = 100'000}});
  v1::SampleRequest message;
  message.set_model(std::string(100'000, 'x'));
  SampleCall call(stub_.get(), message);
  EXPECT_EQ(call.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GrpcServerTest, ShutdownEndsWhatStillRuns) {
  StartServer();
  SampleCall running(stub_.get(), {});
  const auto request = engine_->Next();
  ASSERT_TRUE(running.ReadAccepted());
  server_->Shutdown(std::chrono::system_clock::now());
  EXPECT_TRUE(request->stream->ended());
  EXPECT_FALSE(running.End().ok());
  EXPECT_EQ(service_->calls_in_flight(), 0);
  server_->Shutdown(std::chrono::system_clock::now());  // again, harmless
}

}  // namespace
}  // namespace denoise
