#include "client/cli/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace denoise::cli {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

absl::Status CannotWrite(const std::string& path, const std::string& why) {
  return absl::PermissionDeniedError(absl::StrCat("cannot write '", path, "': ", why));
}

std::filesystem::path FolderOf(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

bool HasExtension(std::string_view path, std::string_view extension) {
  return path.size() > extension.size() &&
         absl::EqualsIgnoreCase(
             absl::string_view(path.data() + path.size() - extension.size(), extension.size()),
             absl::string_view(extension.data(), extension.size()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot read '", path, "': ", error.message()));
  }
  if (size > kMaxBytes) {
    return absl::NotFoundError(absl::StrCat("cannot read '", path, "': it is over 1 GiB"));
  }
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  if (!file.good()) {
    return absl::NotFoundError(absl::StrCat("cannot read '", path, "': ", std::strerror(errno)));
  }
  return bytes.str();
}

absl::Status WriteFile(const std::string& path, const std::string& bytes) {
  // What is no plain file (/dev/stdout, a pipe) cannot be replaced.
  std::error_code error;
  const bool replace =
      !std::filesystem::exists(path, error) || std::filesystem::is_regular_file(path, error);
  const std::string target = replace ? absl::StrCat(path, ".", getpid(), ".tmp") : path;
  std::ofstream file(target, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) {
    const std::string why = std::strerror(errno);
    if (replace) std::remove(target.c_str());
    return CannotWrite(path, why);
  }
  if (replace && std::rename(target.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(target.c_str());
    return CannotWrite(path, why);
  }
  return absl::OkStatus();
}

absl::Status CheckWritable(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return CannotWrite(path, "it is a folder; name a file");
  }
  const auto folder = FolderOf(path);
  if (!std::filesystem::is_directory(folder, error)) {
    return CannotWrite(path, absl::StrCat("there is no folder '", folder.string(), "'; make it"));
  }
  if (std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error)) {
    if (access(path.c_str(), W_OK) != 0) return CannotWrite(path, std::strerror(errno));
  } else if (access(folder.c_str(), W_OK) != 0) {
    return CannotWrite(path,
                       absl::StrCat("folder '", folder.string(), "': ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace denoise::cli
