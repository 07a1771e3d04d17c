#include "client/cli/diffuse_command.h"

#include <utility>

#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/models_command.h"
#include "client/cli/pictures/npy.h"
#include "tests/unit/client/cli/cli_fixture.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DiffuseCommandTest : public CommandTest {
 protected:
  DiffuseCommandTest() {
    model_.sample_shape = {1, 1, 2};
    flags_.out = Path("out.npy");
    flags_.timesteps = {0, 500};
    flags_.images = {Path("in.npy")};
    EXPECT_TRUE(WriteFile(Path("in.npy"), EncodeNpy({{2, 1, 1, 2}, {1, 2, 3, 4}})).ok());
    // x_0 + t, the last sample first.
    server_->on_diffuse = [this](const DiffuseRequest& request, const CallOptions&) {
      request_ = request;
      testing::Script<DiffuseEvent> script = {.events = {Accepted{}}};
      for (int64_t i = request.x_0.shape[0] - 1; i >= 0; --i) {
        for (const uint32_t t : request.timesteps) {
          State state;
          state.sample_index = static_cast<uint32_t>(i);
          state.timestep = static_cast<float>(t) + off_;
          state.tensor.shape = {1, 1, 1, 2};
          for (int64_t k = 0; k < 2; ++k) {
            state.tensor.values.push_back(request.x_0.values[2 * i + k] + static_cast<float>(t));
          }
          script.events.push_back(state);
        }
      }
      return script;
    };
  }
  int Run() { return RunDiffuse(flags_, client_, console_, interrupt_); }

  DiffuseFlags flags_;
  DiffuseRequest request_;
  float off_ = 0;
};

TEST_F(DiffuseCommandTest, ARowASampleAColumnATimestep) {
  EXPECT_EQ(Run(), 0) << err_.str();
  const auto tensor = DecodeNpy(*ReadFile(flags_.out));
  ASSERT_TRUE(tensor.ok());
  EXPECT_THAT(tensor->shape, ElementsAre(2, 2, 1, 1, 2));
  EXPECT_THAT(tensor->values, ElementsAre(1, 2, 501, 502, 3, 4, 503, 504));
}

TEST_F(DiffuseCommandTest, APicture) {
  flags_.out = Path("out.png");
  flags_.scale = 1;
  flags_.chain = true;
  flags_.seed = 5;
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_TRUE(request_.chain);
  EXPECT_EQ(request_.seed, 5u);
  const auto picture = DecodePng(*ReadFile(flags_.out), 1);
  ASSERT_TRUE(picture.ok());
  EXPECT_EQ(picture->width, 2 + 2 + 2);
  EXPECT_EQ(picture->height, 1 + 2 + 1);
}

TEST_F(DiffuseCommandTest, SeveralFilesOfBothKinds) {
  ASSERT_TRUE(WriteFile(Path("in.png"), EncodePng({2, 1, 1, {0, 255}})).ok());
  ASSERT_TRUE(WriteFile(Path("flat.npy"), EncodeNpy({{1, 2}, {7, 8}})).ok());
  flags_.images = {Path("in.png"), Path("in.npy"), Path("flat.npy")};
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_THAT(request_.x_0.shape, ElementsAre(4, 1, 1, 2));
  EXPECT_THAT(request_.x_0.values, ElementsAre(-1, 1, 1, 2, 3, 4, 7, 8));
}

TEST_F(DiffuseCommandTest, EvenTimestepsWhereNoneAreGiven) {
  flags_.timesteps.clear();
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_THAT(request_.timesteps, ElementsAre(0, 142, 285, 428, 570, 713, 856, 999));
  model_.num_train_timesteps = 1;
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_THAT(request_.timesteps, ElementsAre(0));
}

TEST_F(DiffuseCommandTest, FilesThatDoNotFit) {
  ASSERT_TRUE(WriteFile(Path("in.png"), EncodePng({3, 1, 1, {0, 1, 2}})).ok());
  flags_.images = {Path("in.png")};
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("3x1"));
  EXPECT_THAT(err_.str(), HasSubstr("are 2x1: resize it"));
  ASSERT_TRUE(WriteFile(Path("bad.npy"), EncodeNpy({{3}, {0, 1, 2}})).ok());
  flags_.images = {Path("bad.npy")};
  EXPECT_EQ(Run(), EX_DATAERR);
  EXPECT_THAT(err_.str(), HasSubstr("[3]"));
  flags_.images = {Path("none.png")};
  EXPECT_EQ(Run(), EX_NOINPUT);
}

TEST_F(DiffuseCommandTest, AStateOfAnotherTimestepIsAnError) {
  off_ = 1;
  EXPECT_EQ(Run(), EX_SOFTWARE);
  EXPECT_THAT(err_.str(), HasSubstr("t = 1"));
}

using ModelsCommandTest = CommandTest;

TEST_F(ModelsCommandTest, ForPeopleAndForPrograms) {
  model_.status = Model::Status::kServing;
  model_.num_classes = 10;
  model_.null_class = 10;
  model_.alpha_bars = {0.5f, 0.25f};
  model_.inputs = {{"y", "class_labels", {}, DataType::kInt64},
                   {"text", "condition", {-1, 4}, DataType::kFloat32}};
  EXPECT_EQ(RunModels({}, client_, console_), 0);
  EXPECT_THAT(out_.str(), HasSubstr("digits  version 1  SERVING"));
  EXPECT_THAT(out_.str(), HasSubstr("10 classes"));
  EXPECT_THAT(out_.str(), HasSubstr("inputs   text float32 [-1, 4]"));
  out_.str("");
  console_.json = true;
  EXPECT_EQ(RunModels({}, client_, console_), 0);
  const auto document = nlohmann::json::parse(out_.str());
  EXPECT_EQ(document["models"][0]["name"], "digits");
  EXPECT_EQ(document["models"][0]["null_class"], 10);
  EXPECT_EQ(document["models"][0]["alpha_bars"][1], 0.25);
  EXPECT_EQ(document["models"][0]["inputs"][1]["dtype"], "float32");
}

TEST(ModelsCommandErrorTest, NoServer) {
  struct Gone : testing::FakeConnection {
    absl::StatusOr<std::vector<Model>> ListModels(const CallOptions&) override {
      return absl::UnavailableError("gone");
    }
  };
  Client client(std::make_shared<Gone>());
  std::ostringstream out, err;
  Console console{.out = out, .err = err};
  EXPECT_EQ(RunModels({}, client, console), EX_UNAVAILABLE);
}

}  // namespace
}  // namespace denoise::cli
