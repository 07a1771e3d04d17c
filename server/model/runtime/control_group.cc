#include "server/model/runtime/control_group.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace denoise {
namespace {

using Words = std::vector<std::string>;

std::vector<std::string> LinesOf(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The folders of the groups of `controller`, its own first and the root of the mount last; for the
// controller "" those of version 2. Empty where there are none.
std::vector<std::string> FoldersOf(const std::string& root, const std::string& controller) {
  // A line of cgroup is "0::/a/b", or "4:cpu,cpuacct:/a/b" in version 1.
  std::string group;
  bool found = false;
  for (const std::string& line : LinesOf(root + "/proc/self/cgroup")) {
    const Words words = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (words.size() < 3) continue;
    const Words controllers = absl::StrSplit(words[1], ',');
    if (std::count(controllers.begin(), controllers.end(), controller) == 0) continue;
    group = words[2];
    found = true;
  }
  if (!found) return {};
  // One of mountinfo: "31 23 0:27 ROOT MOUNT_POINT OPTIONS… - TYPE SOURCE SUPER_OPTIONS".
  for (const std::string& line : LinesOf(root + "/proc/self/mountinfo")) {
    const std::pair<std::string, std::string> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    const Words mount = absl::StrSplit(halves.first, ' ');
    const Words type = absl::StrSplit(halves.second, ' ');
    if (mount.size() < 5 || type.size() < 3) continue;
    const Words options = absl::StrSplit(type[2], ',');
    const bool is_it =
        controller.empty()
            ? type[0] == "cgroup2"
            : type[0] == "cgroup" && std::count(options.begin(), options.end(), controller) > 0;
    if (!is_it) continue;
    // Of a group outside of what is mounted, nothing can be read but the mount itself.
    absl::string_view below = group;
    if (mount[3] != "/" && !absl::ConsumePrefix(&below, mount[3])) below = "";
    const std::string top = root + mount[4];
    std::vector<std::string> folders;
    for (std::string path = std::string(absl::StripSuffix(below, "/")); !path.empty();
         path.resize(path.rfind('/'))) {
      if (path.front() != '/' || absl::StrContains(path, "..")) break;
      folders.push_back(top + path);
    }
    folders.push_back(top);
    return folders;
  }
  return {};
}

// "max" and -1 are no limit.
std::optional<double> NumberIn(std::ifstream& file) {
  double number = 0;
  if (file >> number && number > 0) return number;
  return std::nullopt;
}

std::optional<double> Smaller(std::optional<double> a, std::optional<double> b) {
  if (!a.has_value() || !b.has_value()) return a.has_value() ? a : b;
  return std::min(*a, *b);
}

// Groups of version 2 have all controllers in one hierarchy, unless one is mounted by version 1.
std::vector<std::string> FoldersOfEither(const std::string& root, const std::string& controller) {
  std::vector<std::string> folders = FoldersOf(root, controller);
  return folders.empty() ? FoldersOf(root, "") : folders;
}

}  // namespace

ControlGroup::ControlGroup(const std::string& root)
    : memory_(FoldersOfEither(root, "memory")), cpu_(FoldersOfEither(root, "cpu")) {}

std::optional<uint64_t> ControlGroup::memory_bytes() const {
  std::optional<double> least;
  for (const std::string& folder : memory_) {
    for (const char* name : {"/memory.max", "/memory.limit_in_bytes"}) {
      std::ifstream file(folder + name);
      least = Smaller(least, NumberIn(file));
    }
  }
  // Version 1 says "none" by a number near 2^63.
  if (!least.has_value() || *least >= 0x1p62) return std::nullopt;
  return static_cast<uint64_t>(*least);
}

std::optional<double> ControlGroup::cores() const {
  std::optional<double> least;
  const auto count = [&least](std::optional<double> quota, std::optional<double> period) {
    if (quota.has_value() && period.has_value()) least = Smaller(least, *quota / *period);
  };
  for (const std::string& folder : cpu_) {
    std::ifstream both(folder + "/cpu.max");  // "QUOTA PERIOD" or "max PERIOD"
    const std::optional<double> quota = NumberIn(both);
    count(quota, NumberIn(both));
    std::ifstream quota_1(folder + "/cpu.cfs_quota_us");
    std::ifstream period_1(folder + "/cpu.cfs_period_us");
    count(NumberIn(quota_1), NumberIn(period_1));
  }
  return least;
}

}  // namespace denoise
