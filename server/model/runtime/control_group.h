// The limits of the process's control groups, which is how containers and systemd limit it.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_CONTROL_GROUP_H_
#define DENOISE_SERVER_MODEL_RUNTIME_CONTROL_GROUP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace denoise {

// Where the process's own group is comes from /proc/self/cgroup and /proc/self/mountinfo, since
// only in a container with a namespace of its own it is the root of what is mounted. A group's
// limit holds for those below it, so the smallest one up to the root counts. Versions 1 and 2.
class ControlGroup {
 public:
  // `root`: what to read as "/".
  explicit ControlGroup(const std::string& root = "");

  // Absent where nothing is limited.
  std::optional<uint64_t> memory_bytes() const;
  std::optional<double> cores() const;

 private:
  // Folders of the process's groups, its own first.
  std::vector<std::string> memory_;
  std::vector<std::string> cpu_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_CONTROL_GROUP_H_
