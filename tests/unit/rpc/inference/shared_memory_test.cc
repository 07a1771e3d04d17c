// Regions of real POSIX shared memory, and callers who take it away.
#include "server/rpc/inference/shared_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

// An object of 64 bytes, 'a' everywhere.
class SharedMemoryTest : public testing::Test {
 protected:
  explicit SharedMemoryTest(const char* begin = "/denoise-shared-memory-test-")
      : key_(absl::StrCat(begin, getpid())) {
    descriptor_ = shm_open(key_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    EXPECT_GE(descriptor_, 0);
    Resize(64);
    const std::string bytes(64, 'a');
    EXPECT_EQ(pwrite(descriptor_, bytes.data(), bytes.size(), 0), 64);
  }
  ~SharedMemoryTest() override {
    shm_unlink(key_.c_str());
    close(descriptor_);
  }
  void Resize(off_t size) { ASSERT_EQ(ftruncate(descriptor_, size), 0); }
  off_t Size() const { return lseek(descriptor_, 0, SEEK_END); }

  const std::string key_;
  int descriptor_;
  SharedMemoryRegistry registry_{/*max_regions=*/4};
  SharedMemory memory_ = registry_.Of("");
};

TEST_F(SharedMemoryTest, ReadsAndWritesWithinARegion) {
  ASSERT_TRUE(memory_.Register("in", {key_, 8, 32}).ok());
  ASSERT_TRUE(memory_.Write({"in", 4, 8}, "bcd", "f").ok());
  EXPECT_EQ(*memory_.Read({"in", 2, 6}, "f"), "aabcda");
  char bytes[4];
  ASSERT_EQ(pread(descriptor_, bytes, 4, 11), 4);
  EXPECT_EQ(std::string(bytes, 4), "abcd");

  const auto regions = memory_.Regions("");
  ASSERT_TRUE(regions.ok());
  ASSERT_EQ(regions->size(), 1u);
  EXPECT_EQ(regions->at("in").key, key_);
  EXPECT_EQ(regions->at("in").offset, 8u);
  EXPECT_EQ(regions->at("in").byte_size, 32u);

  ASSERT_TRUE(memory_.Unregister("in").ok());
  ASSERT_TRUE(memory_.Unregister("in").ok());
  EXPECT_TRUE(absl::IsNotFound(memory_.Regions("in").status()));
  EXPECT_TRUE(absl::IsNotFound(memory_.Read({"in", 0, 1}, "f").status()));
}

TEST_F(SharedMemoryTest, RefusesPlacesThatAreNotWithin) {
  ASSERT_TRUE(memory_.Register("in", {key_, 8, 32}).ok());
  for (const SharedMemory::Place& place :
       {SharedMemory::Place{"in", 0, 33}, SharedMemory::Place{"in", 32, 1},
        SharedMemory::Place{"in", kHuge, 1}, SharedMemory::Place{"in", 1, kHuge},
        SharedMemory::Place{"in", kHuge, kHuge}}) {
    EXPECT_THAT(FieldOf(memory_.Check(place, "f")), Optional(std::string("f")));
    EXPECT_TRUE(absl::IsInvalidArgument(memory_.Read(place, "f").status()));
    EXPECT_TRUE(absl::IsInvalidArgument(memory_.Write(place, "x", "f")));
  }
  EXPECT_TRUE(memory_.Check({"in", 31, 1}, "f").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(memory_.Write({"in", 0, 2}, "too", "f")));
}

TEST_F(SharedMemoryTest, AnObjectThatShrinksIsAnErrorAndNotTheEnd) {
  ASSERT_TRUE(memory_.Register("in", {key_, 0, 64}).ok());
  Resize(10);
  EXPECT_EQ(*memory_.Read({"in", 0, 10}, "f"), std::string(10, 'a'));
  const auto read = memory_.Read({"in", 0, 11}, "f");
  EXPECT_TRUE(absl::IsInvalidArgument(read.status()));
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("has become smaller"));
  EXPECT_TRUE(absl::IsInvalidArgument(memory_.Write({"in", 8, 8}, "123", "f")));
  EXPECT_EQ(Size(), 10);
  EXPECT_TRUE(memory_.Write({"in", 8, 8}, "12", "f").ok());
}

TEST_F(SharedMemoryTest, RefusesRegionsThatAreNone) {
  const struct {
    std::string name;
    SharedMemory::Region region;
    const char* field;
  } cases[] = {
      {"", {key_, 0, 1}, "name"},
      {"in", {"", 0, 1}, "key"},
      {"in", {"/", 0, 1}, "key"},
      {"in", {"/../etc/passwd", 0, 1}, "key"},
      {"in", {"..", 0, 1}, "key"},
      {"in", {std::string("/a\0b", 4), 0, 1}, "key"},
      {"in", {std::string(300, 'k'), 0, 1}, "key"},
      {"in", {key_, 65, 1}, "offset"},
      {"in", {key_, kHuge, kHuge}, "offset"},
      {"in", {key_, 0, 0}, "byte_size"},
      {"in", {key_, 0, 65}, "byte_size"},
      {"in", {key_, 60, 5}, "byte_size"},
      {"in", {key_, 1, kHuge}, "byte_size"},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(absl::StrCat(bad.region.key, " ", bad.region.offset, " ", bad.region.byte_size));
    EXPECT_EQ(FieldOf(memory_.Register(bad.name, bad.region)), bad.field);
  }
  EXPECT_TRUE(absl::IsNotFound(memory_.Register("in", {"/denoise-not-there", 0, 1})));
  ASSERT_TRUE(memory_.Register("in", {key_, 0, 64}).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(memory_.Register("in", {key_, 0, 64})));
}

// Objects of two tenants, of which bob tries to get at alice's.
class TenantsMemoryTest : public SharedMemoryTest {
 protected:
  TenantsMemoryTest() : SharedMemoryTest("/alice.") {}
  SharedMemory alice_ = registry_.Of("alice"), bob_ = registry_.Of("bob");
};

TEST_F(TenantsMemoryTest, ARegionIsOfTheTenantThatRegisteredIt) {
  ASSERT_TRUE(alice_.Register("in", {key_, 0, 64}).ok());
  EXPECT_TRUE(bob_.Regions("")->empty());
  for (const absl::Status& status :
       {bob_.Regions("in").status(), bob_.Read({"in", 0, 8}, "f").status(),
        bob_.Write({"in", 0, 8}, "x", "f"), bob_.Check({"in", 0, 8}, "f")}) {
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_EQ(ReasonOf(status), "REGION_NOT_FOUND");
  }
  EXPECT_TRUE(bob_.Unregister("in").ok());
  EXPECT_TRUE(bob_.Unregister("").ok());
  EXPECT_EQ(*alice_.Read({"in", 0, 4}, "f"), "aaaa");
  EXPECT_EQ(registry_.size(), 1u);
  ASSERT_TRUE(alice_.Unregister("").ok());
  EXPECT_EQ(registry_.size(), 0u);
}

TEST_F(TenantsMemoryTest, AnObjectIsOfTheTenantInItsName) {
  const absl::Status refused = bob_.Register("mine", {key_, 0, 64});
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_EQ(FieldOf(refused), "key");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("/bob.NAME"));
  // Names that only begin alike.
  EXPECT_TRUE(absl::IsPermissionDenied(registry_.Of("ali").Register("in", {key_, 0, 64})));
  EXPECT_TRUE(absl::IsPermissionDenied(alice_.Register("in", {"/alice.b.c", 0, 64})));
  EXPECT_TRUE(absl::IsNotFound(registry_.Of("alice.b").Register("in", {"/alice.b.c", 0, 64})));
  EXPECT_TRUE(alice_.Register("in", {key_.substr(1), 0, 64}).ok()) << "with or without the slash";
}

TEST_F(TenantsMemoryTest, NobodyHasMoreThanHalfOfTheRegions) {
  ASSERT_TRUE(alice_.Register("a", {key_, 0, 1}).ok());
  ASSERT_TRUE(alice_.Register("b", {key_, 0, 1}).ok());
  const absl::Status refused = alice_.Register("c", {key_, 0, 1});
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(ReasonOf(refused), "QUOTA_EXCEEDED");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("2 of this tenant and 2 in all"));
}

TEST_F(SharedMemoryTest, IsOffUnlessAskedFor) {
  SharedMemoryRegistry none(/*max_regions=*/0);
  SharedMemory off = none.Of("");
  EXPECT_TRUE(absl::IsFailedPrecondition(off.Register("in", {key_, 0, 64})));
  EXPECT_TRUE(absl::IsFailedPrecondition(off.Unregister("")));
  EXPECT_TRUE(absl::IsFailedPrecondition(off.Regions("").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(off.Read({"in", 0, 1}, "f").status()));
  EXPECT_THAT(std::string(off.Write({"in", 0, 1}, "x", "f").message()),
              HasSubstr("--shared-memory"));
}

}  // namespace
}  // namespace denoise
