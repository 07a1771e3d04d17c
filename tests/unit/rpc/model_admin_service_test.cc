// ModelAdmin over a real socket, with a hand in place of the models.
#include "server/rpc/model_admin_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <future>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "server/engine/mutex.h"
#include "server/log/log.h"
#include "server/rpc/grpc_server.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/unit/rpc/details.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Operations end when the test says so.
class FakeModels final : public ModelLifecycle {
 public:
  void Load(const std::string&, int64_t, Done done) override { Add(std::move(done)); }
  void Unload(const std::string&, int64_t, Done done) override { Add(std::move(done)); }
  void Reload(const std::string&, int64_t, Done done) override { Add(std::move(done)); }

  // Waits for the next.
  Done Next() {
    MutexLock lock(mutex_);
    while (waiting_.empty()) condition_.Wait(mutex_);
    Done done = std::move(waiting_.front());
    waiting_.pop_front();
    return done;
  }

 private:
  void Add(Done done) {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(done));
    condition_.Signal();
  }
  Mutex mutex_;
  CondVar condition_;
  std::deque<Done> waiting_ ABSL_GUARDED_BY(mutex_);
};

class ModelAdminTest : public testing::Test {
 protected:
  void SetUp() override {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
    logger->set_formatter(NewLogFormatter(LogFormat::kText));
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(std::move(logger));
  }
  void TearDown() override { spdlog::set_default_logger(before_); }

  void Start(const Authenticator* authenticator) {
    reception_ = std::make_unique<Reception>(Reception::Options{.authenticator = authenticator,
                                                                .scope = Scope::kAdmin,
                                                                .memory = &memory_,
                                                                .metrics = &metrics_,
                                                                .clock = &clock_});
    service_ = std::make_unique<ModelAdminService>(ModelAdminService::Options{
        .models = &models_, .reception = reception_.get(), .clock = &clock_, .max_operations = 2});
    GrpcServer::Options options;
    options.address = "127.0.0.1:0";
    options.reception = reception_.get();
    auto server = GrpcServer::Start(options, {service_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::ModelAdmin::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                                        grpc::InsecureChannelCredentials()));
  }
  std::future<grpc::Status> Load(const std::string& model) {
    return std::async(std::launch::async, [this, model] {
      v1::LoadModelRequest request;
      request.set_model(model);
      v1::Model response;
      grpc::ClientContext context;
      return stub_->LoadModel(&context, request, &response);
    });
  }

  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> before_;
  SystemClock clock_;
  Metrics metrics_;
  MemoryBudget memory_{0};
  FakeModels models_;
  const Authenticator anyone_{{}};
  std::unique_ptr<Reception> reception_;
  std::unique_ptr<ModelAdminService> service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::ModelAdmin::Stub> stub_;
};

TEST_F(ModelAdminTest, OnlySoManyOperationsWait) {
  Start(&anyone_);
  auto first = Load("a"), second = Load("b");
  const ModelLifecycle::Done one = models_.Next(), other = models_.Next();
  EXPECT_EQ(service_->operations(), 2);
  const grpc::Status refused = Load("c").get();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(refused).info->reason(), "QUEUE_FULL");
  EXPECT_GT(DetailsOf(refused).retry_seconds(), 0);
  one(absl::NotFoundError("not there"));
  other(CatalogEntry{Shared(TestModel()), ModelStatus::kServing});
  first.get();
  second.get();
  EXPECT_EQ(service_->operations(), 0);
  auto third = Load("c");
  models_.Next()(absl::NotFoundError("not there"));
  EXPECT_EQ(third.get().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelAdminTest, EveryOperationLeavesALine) {
  Start(&anyone_);
  auto good = Load("digits");
  models_.Next()(CatalogEntry{Shared(TestModel()), ModelStatus::kServing});
  EXPECT_TRUE(good.get().ok());
  EXPECT_THAT(log_.str(), HasSubstr("info admin id="));
  EXPECT_THAT(log_.str(), HasSubstr("method=LoadModel model=digits version=0 code=OK"));
  EXPECT_THAT(log_.str(), HasSubstr("peer=ipv4:127.0.0.1:"));
  log_.str("");

  auto bad = Load("cats\nforged");
  models_.Next()(absl::NotFoundError("not there"));
  bad.get();
  EXPECT_THAT(log_.str(), HasSubstr("warning admin id="));
  EXPECT_THAT(log_.str(), HasSubstr("code=NOT_FOUND"));
  EXPECT_THAT(log_.str(), Not(HasSubstr("\nforged")));
}

TEST_F(ModelAdminTest, ALineIsWrittenAlsoWhereTheCallerHasGone) {
  Start(&anyone_);
  grpc::ClientContext context;
  auto call = std::async(std::launch::async, [&] {
    v1::Model response;
    return stub_->LoadModel(&context, {}, &response);
  });
  const ModelLifecycle::Done done = models_.Next();
  context.TryCancel();
  EXPECT_EQ(call.get().error_code(), grpc::StatusCode::CANCELLED);
  done(absl::NotFoundError("not there"));
  EXPECT_THAT(log_.str(), HasSubstr("admin id="));
  EXPECT_THAT(log_.str(), HasSubstr("code=NOT_FOUND"));
}

TEST_F(ModelAdminTest, TheScopeAdminIsNeeded) {
  const Authenticator infers(
      {.anyone = {.name = "alice", .scopes = static_cast<unsigned>(Scope::kInfer)}});
  Start(&infers);
  const grpc::Status refused = Load("digits").get();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), HasSubstr("alice has not the scope admin"));
  EXPECT_EQ(service_->operations(), 0);
  EXPECT_THAT(log_.str(), HasSubstr("code=PERMISSION_DENIED"));
}

}  // namespace
}  // namespace denoise
