#include "server/model/folder/model_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/scheduler_config.h"
#include "server/model/folder/file_hash.h"
#include "server/model/folder/model_json.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kDenoiser[] = "denoiser.pt";
constexpr char kPackage[] = "denoiser.pt2";
constexpr char kDecoder[] = "decoder.pt";
constexpr char kSchedulerConfig[] = "scheduler_config.json";
constexpr char kModelJson[] = "model.json";

absl::Status Missing(absl::string_view file) {
  return absl::NotFoundError(
      absl::StrCat(file, ": is not there or cannot be read: a model is a folder with ", kDenoiser,
                   " (or ", kPackage, "), ", kSchedulerConfig, " and ", kModelJson));
}

// The status with its folder before it.
absl::Status In(const std::string& folder, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(folder, ": ", status.message()));
}

absl::StatusOr<std::string> ReadText(const fs::path& path) {
  constexpr size_t kMost = size_t{16} << 20;
  const std::string file = path.filename().string();
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return Missing(file);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return Missing(file);
  std::string text(kMost + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMost) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": has more than ", kMost, " bytes: that is no configuration"));
  }
  return text;
}

// Which of denoiser.pt and denoiser.pt2 there are, one at least, and the model's hash.
absl::Status FindDenoisers(const fs::path& folder, ModelInfo* info, DenoiserFiles* files) {
  const fs::path denoiser = folder / kDenoiser;
  const fs::path package = folder / kPackage;
  std::error_code error;
  if (fs::exists(package, error)) {
    files->package = package.string();
    if (!fs::exists(denoiser, error)) {
      info->sha256 = info->package_sha256;  // to be checked when the package is loaded
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::string> hash = HashFile(denoiser.string(), "sha256", info->sha256);
  if (absl::IsNotFound(hash.status())) return Missing(kDenoiser);
  if (!hash.ok()) return hash.status();
  files->torchscript = denoiser.string();
  info->sha256 = *std::move(hash);
  return absl::OkStatus();
}

// Whether there is a decoder, and its hash.
absl::Status FindDecoder(const fs::path& folder, ModelInfo* info, std::string* file) {
  const fs::path decoder = folder / kDecoder;
  std::error_code error;
  if (!fs::exists(decoder, error)) {
    if (!info->decoder.has_value()) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat(kDecoder, ": is not there, and ", kModelJson,
                                            " describes a decoder: add it, or take `decoder` out"));
  }
  if (!info->decoder.has_value()) info->decoder.emplace();
  absl::StatusOr<std::string> hash = HashFile(decoder.string(), "sha256", info->decoder->sha256);
  if (!hash.ok()) return hash.status();
  info->decoder->sha256 = *std::move(hash);
  *file = decoder.string();
  return absl::OkStatus();
}

absl::StatusOr<ModelFiles> Load(const ModelFolder& folder) {
  const fs::path path(folder.path);
  absl::StatusOr<std::string> config_text = ReadText(path / kSchedulerConfig);
  if (!config_text.ok()) return config_text.status();
  absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(*config_text);
  if (!config.ok()) return config.status();

  absl::StatusOr<std::string> json = ReadText(path / kModelJson);
  if (!json.ok()) return json.status();
  std::vector<std::string> ignored;
  absl::StatusOr<ModelInfo> info = ParseModelJson(*json, config->num_train_timesteps(), &ignored);
  if (!info.ok()) return info.status();

  ModelFiles files;
  if (!config->ignored_keys.empty()) {
    files.remarks.push_back(absl::StrCat(kSchedulerConfig, ": these keys were not understood: ",
                                         absl::StrJoin(config->ignored_keys, ", ")));
  }
  if (!ignored.empty()) {
    files.remarks.push_back(absl::StrCat(
        kModelJson, ": these keys were not understood: ", absl::StrJoin(ignored, ", ")));
  }

  if (absl::Status status = FindDenoisers(path, &*info, &files.denoisers); !status.ok())
    return status;
  if (absl::Status status = FindDecoder(path, &*info, &files.decoder); !status.ok()) return status;

  if (!folder.name.empty()) {
    if (!info->name.empty() && info->name != folder.name) {
      files.remarks.push_back(absl::StrCat(kModelJson, ": the name ", info->name,
                                           " gives way to the folder's, ", folder.name));
    }
    info->name = folder.name;
  } else if (info->name.empty()) {
    info->name = fs::absolute(path / "").lexically_normal().parent_path().filename().string();
    if (!IsModelName(info->name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(kModelJson,
                       ": name is missing, and the folder's name is not one of A-Z a-z "
                       "0-9 . _ -: add name"));
    }
  }
  info->version = folder.version;
  info->schedule = ScheduleOf(*config);
  info->config = *std::move(config);
  files.info = *std::move(info);
  return files;
}

// A repository being walked through.
class Repository {
 public:
  explicit Repository(fs::path root) : root_(std::move(root)) {}

  absl::Status AddModel(const fs::path& folder) {
    std::vector<std::pair<int64_t, fs::path>> versions;
    if (fs::exists(folder / kDenoiser) || fs::exists(folder / kPackage) ||
        fs::exists(folder / kModelJson)) {
      versions.emplace_back(1, folder);
    }
    const bool bare = !versions.empty();
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      int64_t version = 0;
      if (!entry.is_directory() || !absl::SimpleAtoi(name, &version) || version < 1 ||
          absl::StrCat(version) != name) {
        continue;
      }
      if (bare) {
        return Refused(folder,
                       "has both a model's files and folders of versions: move the files "
                       "into the folder of their version");
      }
      versions.emplace_back(version, entry.path());
    }
    if (versions.empty()) return absl::OkStatus();

    const std::string name = folder.filename().string();
    if (!IsModelName(name)) {
      return Refused(folder, "cannot be a model's name: use 1 to 128 of A-Z a-z 0-9 . _ -");
    }
    std::sort(versions.begin(), versions.end());
    for (const auto& [version, path] : versions) {
      for (const fs::path& part : {path, path / kDenoiser, path / kPackage, path / kDecoder,
                                   path / kSchedulerConfig, path / kModelJson}) {
        if (absl::Status status = CheckInside(part); !status.ok()) return status;
      }
      models_.push_back({path.string(), name, version});
    }
    return absl::OkStatus();
  }

  // A repository's writer must not be able to make the server read what lies elsewhere.
  absl::Status CheckInside(const fs::path& path) const {
    const fs::path real = fs::weakly_canonical(path);
    const auto [end, ignored] = std::mismatch(root_.begin(), root_.end(), real.begin(), real.end());
    if (end == root_.end()) return absl::OkStatus();
    return Refused(path, "is a symbolic link out of the repository: copy the model into it");
  }

  std::vector<ModelFolder>& models() { return models_; }

 private:
  static absl::Status Refused(const fs::path& path, absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", why));
  }

  const fs::path root_;  // canonical
  std::vector<ModelFolder> models_;
};

}  // namespace

absl::StatusOr<ModelFiles> LoadModelFolder(const ModelFolder& folder) {
  absl::StatusOr<ModelFiles> files = Load(folder);
  if (!files.ok()) return In(folder.path, files.status());
  return files;
}

absl::StatusOr<std::vector<ModelFolder>> FindModels(const std::string& root) try {
  if (!fs::is_directory(root)) {
    return absl::NotFoundError(
        absl::StrCat(root, ": is no folder: a model repository holds NAME/VERSION/", kDenoiser));
  }
  Repository repository(fs::canonical(root));
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
    if (entry.path().filename().string().starts_with('.') || !entry.is_directory()) continue;
    if (absl::Status status = repository.CheckInside(entry.path()); !status.ok()) return status;
    folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    if (absl::Status status = repository.AddModel(folder); !status.ok()) return status;
  }
  if (repository.models().empty()) {
    return absl::NotFoundError(
        absl::StrCat(root, ": has no model in it: expected NAME/VERSION/", kDenoiser));
  }
  return std::move(repository.models());
} catch (const fs::filesystem_error& error) {
  return absl::NotFoundError(
      absl::StrCat(error.path1().string(), ": cannot be read: ", error.code().message()));
}

}  // namespace denoise
