// A model's folder: model.json, scheduler_config.json, denoiser.pt or denoiser.pt2 and perhaps
// decoder.pt, read and checked without LibTorch.
#ifndef DENOISE_SERVER_MODEL_FOLDER_MODEL_FILES_H_
#define DENOISE_SERVER_MODEL_FOLDER_MODEL_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"

namespace denoise {

// Where a model lies, and what it is called there.
struct ModelFolder {
  std::string path;
  // Empty: the `name` of model.json, or else the folder's own.
  std::string name{};
  int64_t version = 1;
};

// Paths of the denoiser's files. Empty: is not there; one of them is.
struct DenoiserFiles {
  std::string torchscript;  // denoiser.pt
  std::string package;      // denoiser.pt2
};

// A model that lies ready for LibTorch.
struct ModelFiles {
  DenoiserFiles denoisers;
  std::string decoder;  // path of decoder.pt; empty: the model has none
  // What the files say; the examination's part is still empty.
  ModelInfo info;
  // Remarks for the log, one line each: keys that were not understood, a name that was overruled.
  std::vector<std::string> remarks;
};

// Reads the files and hashes denoiser.pt and decoder.pt, which must agree with the `sha256` that
// model.json gives for each, where it does. A decoder.pt makes ModelInfo::decoder, and where
// model.json describes one it must be there. A package is only looked for: it is hashed when it is
// loaded. NOT_FOUND where a file is not there, otherwise INVALID_ARGUMENT; either names the file,
// the key, the value and what would be right, and says in which folder. Blocking.
absl::StatusOr<ModelFiles> LoadModelFolder(const ModelFolder& folder);

// The models of a repository, by name and version: ROOT/NAME/VERSION/ with VERSION 1, 2, …, or
// ROOT/NAME/ with the files in it, which is version 1. Hidden entries, and folders without any
// model in them, are passed over. NOT_FOUND where there is no model; INVALID_ARGUMENT for a name
// with other characters than A-Z a-z 0-9 . _ -, and for symbolic links out of the repository.
absl::StatusOr<std::vector<ModelFolder>> FindModels(const std::string& root);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_MODEL_FILES_H_
