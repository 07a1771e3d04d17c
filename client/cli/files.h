// Whole files, read and written.
#ifndef DENOISE_CLIENT_CLI_FILES_H_
#define DENOISE_CLIENT_CLI_FILES_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise::cli {

// Whether `path` ends with `extension` (".png"), in any case of letters.
bool HasExtension(std::string_view path, std::string_view extension);

// Of at most 1 GiB.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// The file is replaced as a whole, or not at all.
absl::Status WriteFile(const std::string& path, const std::string& bytes);

// Whether WriteFile can be expected to work, so that this is known before the work is done.
absl::Status CheckWritable(const std::string& path);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_FILES_H_
