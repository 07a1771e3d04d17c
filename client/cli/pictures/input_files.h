// What requests are made of, read from files.
#ifndef DENOISE_CLIENT_CLI_PICTURES_INPUT_FILES_H_
#define DENOISE_CLIENT_CLI_PICTURES_INPUT_FILES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/flags/named_file.h"
#include "denoise/types.h"

namespace denoise::cli {

// All of these give NOT_FOUND for a file that cannot be read, and INVALID_ARGUMENT for one that
// holds something else than what is wanted; `flag` is where it was named.

// The samples of all files, one after the other: [n, C, H, W], in the model's value range. A .png,
// whose black and white are the ends of that range, or a .npy of [C, H, W], [n, C, H, W], or
// [H, W] where C is 1.
absl::StatusOr<Tensor> ReadSamples(const std::string& flag, const std::vector<std::string>& paths,
                                   const Model& model);

// [1 or n, 1 or C, H, W], each 0..1. A .png, whose white is 1, or a .npy of any type that may leave
// out leading extents.
absl::StatusOr<Tensor> ReadMask(const std::string& flag, const std::string& path,
                                const Model& model);

// A .npy of float32, of any shape.
absl::StatusOr<Tensor> ReadTensor(const std::string& flag, const std::string& path);

// A .npy for each name.
absl::StatusOr<std::map<std::string, Array>> ReadArrays(const std::string& flag,
                                                        const std::vector<NamedFile>& files);

// The exit code for what those give.
int InputExitCode(const absl::Status& status);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_PICTURES_INPUT_FILES_H_
