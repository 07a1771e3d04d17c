#include "server/model/runtime/control_group.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

class ControlGroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / (std::string("control_group_") + test->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const fs::path file = root_ / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void InVersion2(const std::string& group, const std::string& mounted = "/") {
    Write("proc/self/cgroup", "0::" + group + "\n");
    Write("proc/self/mountinfo", "23 1 254:0 / / rw - ext4 /dev/root rw\n31 23 0:27 " + mounted +
                                     " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  ControlGroup Read() const { return ControlGroup(root_.string()); }

  fs::path root_;
};

TEST_F(ControlGroupTest, WithoutControlGroupsNothingIsLimited) {
  EXPECT_FALSE(Read().memory_bytes().has_value());
  EXPECT_FALSE(Read().cores().has_value());
}

TEST_F(ControlGroupTest, AContainersOwnGroupIsTheRootOfItsNamespace) {
  InVersion2("/");
  Write("sys/fs/cgroup/memory.max", "1073741824\n");
  Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(Read().memory_bytes(), uint64_t{1} << 30);
  EXPECT_EQ(Read().cores(), 1.5);
}

TEST_F(ControlGroupTest, OutsideOfANamespaceTheLimitIsBelowTheRoot) {
  InVersion2("/system.slice/denoised.service");
  Write("sys/fs/cgroup/system.slice/denoised.service/memory.max", "2147483648\n");
  Write("sys/fs/cgroup/system.slice/denoised.service/cpu.max", "max 100000\n");
  EXPECT_EQ(Read().memory_bytes(), uint64_t{2} << 30);
  EXPECT_FALSE(Read().cores().has_value());
}

TEST_F(ControlGroupTest, TheSmallestLimitUpToTheRootCounts) {
  InVersion2("/a/b");
  Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("sys/fs/cgroup/a/memory.max", "500\n");
  Write("sys/fs/cgroup/memory.max", "900\n");
  EXPECT_EQ(Read().memory_bytes(), 500u);
}

TEST_F(ControlGroupTest, APartOfTheHierarchyMayBeMounted) {
  InVersion2("/kubepods/pod1/c1", "/kubepods/pod1");
  Write("sys/fs/cgroup/c1/memory.max", "700\n");
  EXPECT_EQ(Read().memory_bytes(), 700u);
}

TEST_F(ControlGroupTest, OfAGroupOutsideOfTheMountTheMountIsRead) {
  InVersion2("/../../elsewhere");
  Write("sys/fs/cgroup/memory.max", "800\n");
  Write("elsewhere/memory.max", "1\n");
  EXPECT_EQ(Read().memory_bytes(), 800u);
}

TEST_F(ControlGroupTest, Version1) {
  Write("proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n");
  Write("proc/self/mountinfo",
        "40 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "42 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n");
  Write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Read().memory_bytes(), 4096u);
  EXPECT_EQ(Read().cores(), 2.0);
}

}  // namespace
}  // namespace denoise
