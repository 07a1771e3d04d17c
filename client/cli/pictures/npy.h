// NumPy's file format for arrays (numpy.lib.format), as far as samples need it.
#ifndef DENOISE_CLIENT_CLI_PICTURES_NPY_H_
#define DENOISE_CLIENT_CLI_PICTURES_NPY_H_

#include <string>

#include "absl/status/statusor.h"
#include "denoise/types.h"

namespace denoise::cli {

// Little-endian float32, row-major, version 1.0.
std::string EncodeNpy(const Tensor& tensor);

// Reads float32, float64 (which becomes float32), int64 or bool, little-endian, row-major.
// INVALID_ARGUMENT, with the fix, for anything else.
absl::StatusOr<Array> DecodeNpyArray(const std::string& bytes);

// The same, of float32 or float64 alone.
absl::StatusOr<Tensor> DecodeNpy(const std::string& bytes);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_PICTURES_NPY_H_
