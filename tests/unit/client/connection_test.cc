// Connecting, unary calls, errors with their details, and options.
#include <memory>
#include <utility>

#include "client/src/call_context.h"
#include "denoise/client.h"
#include "denoise/testing.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/text_proto.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// An error as a server of denoise.v1 gives it.
grpc::Status DetailedError() {
  google::rpc::Status details;
  details.add_details()->PackFrom(Proto<google::rpc::BadRequest>(R"pb(
    field_violations {
      field: "sampler.steps"
      description: "1001 is more than the 1000 that the model was trained with"
    })pb"));
  details.add_details()->PackFrom(Proto<google::rpc::RetryInfo>("retry_delay { seconds: 2 }"));
  details.add_details()->PackFrom(Proto<google::rpc::ErrorInfo>(R"pb(
    reason: "QUEUE_FULL"
    domain: "denoise.v1"
    metadata { key: "waiting" value: "256" })pb"));
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "sampler.steps is 1001",
                      details.SerializeAsString());
}

TEST(ConnectTest, AddressesThatCannotBeAreRefusedWithTheFix) {
  for (const char* address : {"", "host", "host:", ":80", "host:x", "host:0", "host:65536",
                              "a:1,b:2", "no such thing", "[::1]"}) {
    const auto client = Client::Connect(address);
    EXPECT_EQ(client.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(client.status().message()), HasSubstr("write")) << address;
  }
}

TEST(ConnectTest, OptionsThatCannotBeAreRefused) {
  ClientOptions options;
  options.max_message_bytes = 0;
  EXPECT_THAT(std::string(Client::Connect("a:1", options).status().message()),
              HasSubstr("max_message_bytes is 0"));
  options = {};
  options.metadata = {{"UPPER", "x"}};
  EXPECT_THAT(std::string(Client::Connect("a:1", options).status().message()),
              HasSubstr("'UPPER'"));
  options = {};
  options.keepalive_time = absl::Seconds(1);
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Connect("a:1", options).status()));
}

TEST(ConnectTest, NoServerIsUnavailableAndSaysWhy) {
  const std::string address = AddressOfNobody();
  ClientOptions options;
  options.connect_timeout = absl::Milliseconds(50);
  const auto client = Client::Connect(address, options);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), StartsWith("no server at " + address));
}

TEST(ConnectTest, WithoutWaitingTheFirstCallFindsOut) {
  const std::string address = AddressOfNobody();
  ClientOptions options;
  options.connect_timeout = absl::ZeroDuration();
  auto client = Client::Connect(address, options);
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(absl::IsUnavailable(client->SampleAndWait({}).status()));
}

TEST(ConnectTest, AmongSeveralTheOneThatAnswersIsUsed) {
  const std::string gone = AddressOfNobody();
  FakeServer server;
  server.on_list_models = [](v1::ListModelsResponse*) { return grpc::Status::OK; };
  auto client = Client::Connect("ipv4:" + gone + "," + server.address());
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE(client->ListModels().ok());
}

using ConnectionTest = WireTest;

TEST_F(ConnectionTest, Models) {
  server_.on_list_models = [](v1::ListModelsResponse* response) {
    *response->add_models() = MakeModel("digits");
    *response->add_models() = MakeModel("letters");
    return grpc::Status::OK;
  };
  server_.on_get_model = [](const v1::GetModelRequest& request, v1::Model* model) {
    *model = MakeModel(request.model());
    model->set_version(request.model_version());
    model->set_null_class(10);
    return grpc::Status::OK;
  };
  const auto models = client_.ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[1].name, "letters");
  EXPECT_FALSE((*models)[1].null_class.has_value());
  const auto model = client_.GetModel("digits", 3);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name, "digits");
  EXPECT_EQ(model->version, 3);
  EXPECT_EQ(model->null_class, 10);
  EXPECT_EQ(model->status, Model::Status::kServing);
}

TEST_F(ConnectionTest, Health) {
  auto* health = server_.grpc().GetHealthCheckService();
  ASSERT_NE(health, nullptr);
  health->SetServingStatus("digits", true);
  health->SetServingStatus("letters", false);
  EXPECT_TRUE(client_.Healthy().value());
  EXPECT_TRUE(client_.Healthy("digits").value());
  EXPECT_FALSE(client_.Healthy("letters").value());
  EXPECT_TRUE(absl::IsNotFound(client_.Healthy("cats").status()));
}

TEST_F(ConnectionTest, ErrorsKeepTheirDetails) {
  server_.on_sample = [](const v1::SampleRequest&) { return Script{{}, DetailedError()}; };
  const auto status = client_.SampleAndWait({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "sampler.steps is 1001");
  const auto details = DetailsOf(status);
  ASSERT_EQ(details.field_violations.size(), 1u);
  EXPECT_EQ(details.field_violations[0].field, "sampler.steps");
  EXPECT_THAT(details.field_violations[0].description, HasSubstr("1001"));
  EXPECT_EQ(details.retry_delay, absl::Seconds(2));
  EXPECT_EQ(details.reason, "QUEUE_FULL");
  EXPECT_EQ(details.domain, "denoise.v1");
  EXPECT_EQ(details.metadata.at("waiting"), "256");
}

TEST_F(ConnectionTest, UnaryErrorsKeepThemToo) {
  server_.on_get_model = [](const v1::GetModelRequest&, v1::Model*) { return DetailedError(); };
  EXPECT_EQ(DetailsOf(client_.GetModel().status()).reason, "QUEUE_FULL");
}

TEST_F(ConnectionTest, DetailsThatAreNoneAreLeftOut) {
  google::rpc::Status hostile;
  hostile.add_details()->PackFrom(Proto<google::rpc::RetryInfo>("retry_delay { seconds: -5 }"));
  auto* garbage = hostile.add_details();
  garbage->set_type_url("type.googleapis.com/google.rpc.BadRequest");
  garbage->set_value("\xff\xff\xff");
  for (const std::string& bytes : {hostile.SerializeAsString(), std::string("\xff\xff")}) {
    server_.on_sample = [&](const v1::SampleRequest&) {
      return Script{{}, grpc::Status(grpc::StatusCode::INTERNAL, "broken", bytes)};
    };
    const auto status = client_.SampleAndWait({}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    const auto details = DetailsOf(status);
    EXPECT_TRUE(details.field_violations.empty());
    EXPECT_FALSE(details.retry_delay.has_value());
    EXPECT_TRUE(details.reason.empty());
  }
  EXPECT_TRUE(DetailsOf(absl::OkStatus()).reason.empty());
}

TEST_F(ConnectionTest, MetadataArrives) {
  ClientOptions options;
  options.metadata = {{"denoise-tenant", "alice"}};
  options.user_agent = "my-tool/2";
  auto client = Client::Connect(server_.address(), options);
  ASSERT_TRUE(client.ok());
  CallOptions call;
  call.request_id = "r-77";
  call.metadata = {{"more", "of it"}};
  ASSERT_TRUE(client->SampleAndWait({}, call).ok());
  const auto metadata = server_.metadata();
  const auto get = [&](const char* name) {
    const auto it = metadata.find(name);
    return it == metadata.end() ? "" : it->second;
  };
  EXPECT_EQ(get("denoise-tenant"), "alice");
  EXPECT_EQ(get("x-request-id"), "r-77");
  EXPECT_EQ(get("more"), "of it");
  EXPECT_THAT(get("user-agent"), StartsWith("my-tool/2 denoise-cpp/"));
}

TEST_F(ConnectionTest, MetadataThatCannotBeSentIsRefused) {
  for (const Metadata& metadata : {Metadata{{"", "x"}}, Metadata{{"a b", "x"}},
                                   Metadata{{"a", "line\nline"}}, Metadata{{"grpc-x", "x"}}}) {
    CallOptions call;
    call.metadata = metadata;
    EXPECT_TRUE(absl::IsInvalidArgument(client_.ListModels(call).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(client_.SampleAndWait({}, call).status()));
  }
  CallOptions call;
  call.request_id = "line\nline";
  EXPECT_TRUE(absl::IsInvalidArgument(client_.ListModels(call).status()));
  call = {};
  call.timeout = -absl::Seconds(1);
  EXPECT_TRUE(absl::IsInvalidArgument(client_.ListModels(call).status()));
}

TEST(CallContextTest, TheCallsTimeoutGoesBeforeTheClients) {
  ClientOptions client;
  CallOptions call;
  const auto remaining = [&] {
    grpc::ClientContext context;
    EXPECT_TRUE(PrepareContext(client, call, &context).ok());
    return context.deadline() - std::chrono::system_clock::now();
  };
  EXPECT_GT(remaining(), std::chrono::hours(24 * 365)) << "no deadline";
  client.default_timeout = absl::Hours(2);
  // Deadlines are kept in other units, and rounded.
  EXPECT_LE(remaining(), std::chrono::minutes(121));
  EXPECT_GT(remaining(), std::chrono::minutes(119));
  call.timeout = absl::Hours(1);
  EXPECT_LE(remaining(), std::chrono::minutes(61));
  EXPECT_GT(remaining(), std::chrono::minutes(59));
  call.timeout = absl::InfiniteDuration();
  EXPECT_GT(remaining(), std::chrono::hours(24 * 365));
}

TEST(CallContextTest, TheTokenIsAskedForEveryCall) {
  ClientOptions client;
  int asked = 0;
  client.token = [&]() -> absl::StatusOr<std::string> {
    ++asked;
    return "secret";
  };
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    EXPECT_TRUE(PrepareContext(client, {}, &context).ok());
  }
  EXPECT_EQ(asked, 2);
  for (const char* token : {"", "two words", "line\n", "caf\xc3\xa9"}) {
    client.token = FixedToken(token);
    grpc::ClientContext context;
    const auto status = PrepareContext(client, {}, &context);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << token;
    EXPECT_THAT(std::string(status.message()), HasSubstr("token"));
    if (*token != 0) {
      EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr(token)));
    }
  }
  client.token = TokenFromFile("/nonexistent");
  grpc::ClientContext context;
  EXPECT_TRUE(absl::IsNotFound(PrepareContext(client, {}, &context)));
}

TEST(ConnectTest, CredentialsThatCannotBeAreRefused) {
  const auto refused = [](const ClientOptions& options) {
    const auto status = Client::Connect("localhost:1", options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    return std::string(status.message());
  };
  ClientOptions options;
  options.token = FixedToken("secret");
  EXPECT_THAT(refused(options), HasSubstr("in the clear"));
  options.tls.emplace().ca_pem = "/etc/ssl/ca.pem";
  EXPECT_THAT(refused(options), HasSubstr("tls.ca_pem is not in PEM form"));
  options.tls.emplace().key_pem = "-----BEGIN PRIVATE KEY-----";
  EXPECT_THAT(refused(options), HasSubstr("belong together"));
  EXPECT_TRUE(absl::IsNotFound(ReadTls({.ca = "/nonexistent"}).status()));
}

TEST(ConnectTest, RetryPoliciesThatCannotBeAreRefused) {
  const auto refused = [](const RetryPolicy& policy) {
    ClientOptions options;
    options.retry = policy;
    const auto status = Client::Connect("localhost:1", options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    return std::string(status.message());
  };
  EXPECT_THAT(refused({.max_attempts = 0}), HasSubstr("max_attempts is 0"));
  EXPECT_THAT(refused({.initial_backoff = absl::ZeroDuration()}),
              HasSubstr("initial_backoff is 0"));
  EXPECT_THAT(refused({.max_backoff = absl::Milliseconds(1)}), HasSubstr("at most max_backoff"));
  EXPECT_THAT(refused({.multiplier = 0.5}), HasSubstr("multiplier is 0.5"));
  EXPECT_THAT(refused({.codes = {absl::StatusCode::kOk}}), HasSubstr("holds OK"));
}

TEST_F(ConnectionTest, AnAnswerThatIsTooLargeIsAnError) {
  ClientOptions options;
  options.max_message_bytes = 16;
  auto client = Client::Connect(server_.address(), options);
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(client->SampleAndWait({}).status()));
}

TEST(AnyConnectionTest, WaitingGivesTheResultOrWhatWentWrong) {
  const auto connection = std::make_shared<testing::FakeConnection>();
  testing::Script<Event> script = {.events = {Accepted{}, Result{.denoiser_rows = 5}}};
  connection->on_sample = [&](auto&&...) { return script; };
  Client client(connection);
  EXPECT_EQ(client.SampleAndWait({})->denoiser_rows, 5u);
  script = {.events = {}, .status = absl::UnavailableError("gone")};
  EXPECT_TRUE(absl::IsUnavailable(client.SampleAndWait({}).status()));
  script = {};
  EXPECT_TRUE(absl::IsInternal(client.SampleAndWait({}).status()));
}

}  // namespace
}  // namespace denoise
