// SHA-256 of a model's files, without LibTorch.
#ifndef DENOISE_SERVER_MODEL_FOLDER_FILE_HASH_H_
#define DENOISE_SERVER_MODEL_FOLDER_FILE_HASH_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace denoise {

// The file's hash in lower-case hexadecimal digits. NOT_FOUND where there is no such file or it
// cannot be read; INVALID_ARGUMENT where it is empty, or has another hash than `expected`, which
// model.json gives under `key` (empty: any hash is right); INTERNAL where reading breaks off.
// Messages begin with the file's name, without its folder. Blocking.
absl::StatusOr<std::string> HashFile(const std::string& path, absl::string_view key,
                                     absl::string_view expected);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_FILE_HASH_H_
