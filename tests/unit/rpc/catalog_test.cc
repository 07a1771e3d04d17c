#include "server/rpc/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/diffusion/field_error.h"
#include "server/rpc/status.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const ModelInfo> Model(const std::string& name, int64_t version) {
  ModelInfo model = TestModel(name);
  model.version = version;
  return Shared(std::move(model));
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(CatalogTest, EmptyNameIsTheOnlyOne) {
  Catalog catalog;
  catalog.Add(Model("digits", 1));
  catalog.Add(Model("digits", 2));
  EXPECT_EQ((*catalog.Find("", 0)).model->name, "digits");
  EXPECT_EQ((*catalog.Find("", 1)).model->version, 1);

  catalog.Add(Model("cats", 1));
  const auto found = catalog.Find("", 0);
  EXPECT_EQ(FieldOf(found.status()), "model");
  EXPECT_THAT(Message(found.status()), HasSubstr("\"cats\", \"digits\""));
}

TEST(CatalogTest, VersionZeroIsTheNewestThatIsServed) {
  Catalog catalog;
  catalog.Add(Model("digits", 2));
  catalog.Add(Model("digits", 10));
  catalog.Add(Model("digits", 9));
  EXPECT_EQ((*catalog.Find("digits", 0)).model->version, 10);
  catalog.Add(Model("digits", 11), ModelStatus::kLoading);
  EXPECT_EQ((*catalog.Find("digits", 0)).model->version, 10);
  EXPECT_EQ((*catalog.Find("digits", 11)).status, ModelStatus::kLoading);
  EXPECT_EQ((*catalog.FindServing("digits", 0))->version, 10);
}

TEST(CatalogTest, OnlyServedModelsAreForWork) {
  Catalog catalog;
  catalog.Add(Model("digits", 1), ModelStatus::kLoading);
  EXPECT_TRUE(catalog.Find("digits", 0).ok());
  absl::Status status = catalog.FindServing("digits", 0).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), "MODEL_LOADING");
  catalog.Add(Model("digits", 1), ModelStatus::kDraining);
  status = catalog.FindServing("digits", 0).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), "DRAINING");
  catalog.Add(Model("digits", 1), ModelStatus::kServing);
  EXPECT_TRUE(catalog.FindServing("digits", 0).ok());
  EXPECT_EQ(catalog.Entries().size(), 1u);  // replaced each time
}

TEST(CatalogTest, UnknownIsNotFoundAndSaysWhatThereIs) {
  Catalog catalog;
  EXPECT_TRUE(absl::IsNotFound(catalog.Find("", 0).status()));
  catalog.Add(Model("digits", 3));
  for (const char* name : {"digit", "digitsX", "../digits", "/etc/passwd", "Digits"}) {
    const absl::Status status = catalog.Find(name, 0).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << name;
    EXPECT_THAT(Message(status), HasSubstr(name));
    EXPECT_THAT(Message(status), HasSubstr("there is \"digits\""));
  }
  const absl::Status status = catalog.Find("digits", 7).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(Message(status), HasSubstr("model_version: 7"));
  EXPECT_THAT(Message(status), HasSubstr("there is 3"));
  EXPECT_EQ(FieldOf(catalog.Find("digits", -1).status()), "model_version");
}

TEST(CatalogTest, ListsByNameThenVersion) {
  Catalog catalog;
  catalog.Add(Model("b", 10));
  catalog.Add(Model("b", 9));
  catalog.Add(Model("a", 1));
  std::vector<std::pair<std::string, int64_t>> listed;
  for (const auto& model : catalog.All()) listed.emplace_back(model->name, model->version);
  EXPECT_THAT(listed, testing::ElementsAre(testing::Pair("a", 1), testing::Pair("b", 9),
                                           testing::Pair("b", 10)));
}

}  // namespace
}  // namespace denoise
