// What an AOTInductor package says of itself, checked against this machine and the model. Without
// LibTorch, so that nothing of the package has run yet.
#ifndef DENOISE_SERVER_MODEL_FOLDER_PACKAGE_METADATA_H_
#define DENOISE_SERVER_MODEL_FOLDER_PACKAGE_METADATA_H_

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_info.h"

namespace denoise {

// As LibTorch reads it. AOTI_… are Inductor's own keys, denoise_… those that
// models/export_aotinductor.py adds.
using PackageMetadata = std::unordered_map<std::string, std::string>;

// What compiled code depends on.
struct PackageHost {
  std::string architecture;        // as uname has it: "x86_64"
  std::set<std::string> features;  // the CPU's, as Linux names them: "avx2", "avx512f", …
  std::string libtorch;            // its version: "2.13.0"
};

// This machine; `libtorch`: the version that the server is linked with.
PackageHost ThisPackageHost(absl::string_view libtorch);

// The features of the first processor in the text of /proc/cpuinfo.
std::set<std::string> FeaturesOf(absl::string_view cpuinfo);

// How a package may be called, which its code does not check.
struct PackageTraits {
  int64_t max_rows = 0;       // a batch has 1 to max_rows rows
  bool integer_time = false;  // t is int64, otherwise float32
  bool bfloat16 = false;      // most is computed in that, otherwise in float32
};

// INVALID_ARGUMENT where the package cannot run here, with the reason and the fix: another
// architecture, device or release of LibTorch, instructions that the CPU does not have (an illegal
// instruction would end the process), another signature than the model's, or another origin than
// the export script, so that it is not known what may be called.
absl::StatusOr<PackageTraits> CheckPackage(const PackageMetadata& metadata, const PackageHost& host,
                                           const ModelInfo& model);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_PACKAGE_METADATA_H_
