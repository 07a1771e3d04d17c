// Loading and unloading models.
#include "denoise/admin_client.h"

#include <future>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AdminClientTest : public ::testing::Test {
 protected:
  AdminClientTest() : admin_(*AdminClient::Connect(server_.address())) {}

  FakeServer server_;
  AdminClient admin_;
};

// Answers the model that was asked for.
template <typename Request>
grpc::Status AnswerAsAsked(const Request& request, v1::Model* model) {
  *model = MakeModel(request.model());
  model->set_version(request.model_version() == 0 ? 7 : request.model_version());
  return grpc::Status::OK;
}

TEST_F(AdminClientTest, Loads) {
  server_.on_load_model = AnswerAsAsked<v1::LoadModelRequest>;
  const auto newest = admin_.LoadModel("faces");
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->name, "faces");
  EXPECT_EQ(newest->version, 7);
  EXPECT_EQ(newest->status, Model::Status::kServing);
  EXPECT_EQ(admin_.LoadModel("faces", 3)->version, 3);
}

TEST_F(AdminClientTest, Reloads) {
  server_.on_reload_model = AnswerAsAsked<v1::ReloadModelRequest>;
  const auto model = admin_.ReloadModel("faces", 2);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name, "faces");
  EXPECT_EQ(model->version, 2);
}

TEST_F(AdminClientTest, Unloads) {
  v1::UnloadModelRequest seen;
  server_.on_unload_model = [&](const v1::UnloadModelRequest& request) {
    seen = request;
    return grpc::Status::OK;
  };
  EXPECT_TRUE(admin_.UnloadModel("faces", 2).ok());
  EXPECT_EQ(seen.model(), "faces");
  EXPECT_EQ(seen.model_version(), 2);
}

TEST_F(AdminClientTest, ErrorsAreTheServers) {
  server_.on_load_model = [](const auto&, v1::Model*) {
    return grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "is served already");
  };
  server_.on_unload_model = [](const auto&) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "is being unloaded already");
  };
  EXPECT_EQ(admin_.LoadModel("faces").status(), absl::AlreadyExistsError("is served already"));
  EXPECT_EQ(admin_.UnloadModel("faces"),
            absl::FailedPreconditionError("is being unloaded already"));
}

TEST_F(AdminClientTest, AnAnswerThatBreaksTheProtocolIsDataLoss) {
  server_.on_reload_model = [](const auto&, v1::Model* model) {
    *model = MakeModel("faces");
    model->clear_sample_shape();
    return grpc::Status::OK;
  };
  EXPECT_TRUE(absl::IsDataLoss(admin_.ReloadModel("faces").status()));
}

TEST_F(AdminClientTest, ATimeoutEndsTheWaitingAndNotTheOperation) {
  std::promise<void> told;
  std::promise<void> ended;
  server_.on_unload_model = [&](const auto&) {
    told.get_future().wait();
    ended.set_value();
    return grpc::Status::OK;
  };
  CallOptions options;
  options.timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(admin_.UnloadModel("faces", 0, options)));
  told.set_value();
  ended.get_future().wait();
}

TEST(AdminClientConnectTest, NothingIsMadeTwice) {
  FakeServer server;
  ClientOptions options;
  options.retry.max_attempts = 3;
  const auto admin = AdminClient::Connect(server.address(), options);
  EXPECT_TRUE(absl::IsInvalidArgument(admin.status()));
  EXPECT_THAT(std::string(admin.status().message()), HasSubstr("retry.max_attempts is 3"));
}

TEST(AdminClientConnectTest, NoServerIsUnavailableAndABadAddressIsRefused) {
  const std::string address = AddressOfNobody();
  ClientOptions options;
  options.connect_timeout = absl::Milliseconds(50);
  const auto admin = AdminClient::Connect(address, options);
  EXPECT_TRUE(absl::IsUnavailable(admin.status()));
  EXPECT_THAT(std::string(admin.status().message()), StartsWith("no server at " + address));
  EXPECT_TRUE(absl::IsInvalidArgument(AdminClient::Connect("8502").status()));
}

}  // namespace
}  // namespace denoise
