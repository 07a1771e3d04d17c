#include "client/cli/admin_command.h"

#include <sstream>
#include <utility>

#include "client/cli/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/cli/parse_flags.h"
#include "tests/unit/client/fake_server.h"

namespace denoise::cli {
namespace {

using ::testing::HasSubstr;

std::string Parse(AdminFlags* flags, std::vector<std::string> arguments) {
  return ParseFlags(&AddAdminFlags, flags, std::move(arguments));
}

TEST(AdminFlagsTest, EverythingArrives) {
  AdminFlags flags;
  ASSERT_EQ(Parse(&flags, {"unload", "faces", "--model-version", "3", "--address", "there:1",
                           "--timeout", "2m", "--request-id", "mine", "--json"}),
            "");
  EXPECT_EQ(flags.operation, AdminFlags::Operation::kUnload);
  EXPECT_EQ(flags.model, "faces");
  EXPECT_EQ(flags.version, 3);
  EXPECT_EQ(flags.server.address, "there:1");
  EXPECT_EQ(flags.server.timeout, absl::Minutes(2));
  EXPECT_EQ(flags.server.request_id, "mine");
  EXPECT_TRUE(flags.server.json);
}

TEST(AdminFlagsTest, WhatIsNotSaid) {
  AdminFlags flags;
  ASSERT_EQ(Parse(&flags, {"reload", "faces"}), "");
  EXPECT_EQ(flags.operation, AdminFlags::Operation::kReload);
  EXPECT_EQ(flags.version, 0);
  EXPECT_EQ(flags.server.address, "127.0.0.1:8502") << "not the port for callers";
  EXPECT_EQ(flags.server.timeout, absl::InfiniteDuration());
}

TEST(AdminFlagsTest, WhatIsRefusedIsNamed) {
  AdminFlags flags;
  EXPECT_THAT(Parse(&flags, {}), HasSubstr("OPERATION is required"));
  EXPECT_THAT(Parse(&flags, {"load"}), HasSubstr("MODEL is required"));
  EXPECT_THAT(Parse(&flags, {"drop", "faces"}), HasSubstr("'drop' is none of load|unload|reload"));
  EXPECT_THAT(Parse(&flags, {"load", "faces", "--model-version", "-1"}),
              HasSubstr("'-1' is not a whole number"));
}

class AdminCommandTest : public ::testing::Test {
 protected:
  AdminCommandTest() {
    flags_.server.address = server_.address();
    flags_.model = "faces";
  }
  int Run(AdminFlags::Operation operation) {
    flags_.operation = operation;
    auto admin = Connect(flags_);
    EXPECT_TRUE(admin.ok()) << admin.status();
    return RunAdmin(flags_, *admin, console_);
  }

  FakeServer server_;
  AdminFlags flags_;
  std::ostringstream out_;
  std::ostringstream err_;
  Console console_{.out = out_, .err = err_};
};

TEST_F(AdminCommandTest, TellsOfTheModelThatWasLoaded) {
  flags_.version = 2;
  server_.on_load_model = [](const v1::LoadModelRequest& request, v1::Model* model) {
    *model = MakeModel(request.model());
    model->set_version(request.model_version());
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run(AdminFlags::Operation::kLoad), EX_OK);
  EXPECT_THAT(out_.str(), HasSubstr("faces  version 2  SERVING\n"));
}

TEST_F(AdminCommandTest, TellsOfTheModelThatWasReloadedInJson) {
  console_.json = true;
  server_.on_reload_model = [](const v1::ReloadModelRequest& request, v1::Model* model) {
    *model = MakeModel(request.model());
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run(AdminFlags::Operation::kReload), EX_OK);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["model"]["name"], "faces");
}

TEST_F(AdminCommandTest, SaysThatItIsUnloaded) {
  std::string unloaded;
  server_.on_unload_model = [&](const v1::UnloadModelRequest& request) {
    unloaded = request.model();
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run(AdminFlags::Operation::kUnload), EX_OK);
  EXPECT_EQ(unloaded, "faces");
  EXPECT_EQ(out_.str(), "faces is unloaded\n");
  console_.json = true;
  out_.str("");
  EXPECT_EQ(Run(AdminFlags::Operation::kUnload), EX_OK);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["unloaded"], "faces");
}

TEST_F(AdminCommandTest, ARefusalIsTold) {
  server_.on_load_model = [](const auto&, v1::Model*) {
    return grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "faces version 1 is served already");
  };
  EXPECT_EQ(Run(AdminFlags::Operation::kLoad), EX_DATAERR);
  EXPECT_EQ(err_.str(), "denoise: faces version 1 is served already\n");
  EXPECT_EQ(out_.str(), "");
}

TEST_F(AdminCommandTest, ThePortForCallersHasNoSuchService) {
  server_.on_unload_model = [](const auto&) {
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
  };
  EXPECT_EQ(Run(AdminFlags::Operation::kUnload), EX_UNAVAILABLE);
  EXPECT_THAT(err_.str(), HasSubstr("no ModelAdmin at " + server_.address()));
  EXPECT_THAT(err_.str(), HasSubstr("--admin-listen"));
}

TEST(AdminConnectTest, NoServer) {
  AdminFlags flags;
  flags.server.address = AddressOfNobody();
  flags.server.connect_timeout = absl::Milliseconds(50);
  const auto admin = Connect(flags);
  EXPECT_TRUE(absl::IsUnavailable(admin.status()));
  EXPECT_THAT(std::string(admin.status().message()), HasSubstr("with --admin-listen"));
}

}  // namespace
}  // namespace denoise::cli
