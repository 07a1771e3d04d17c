// Flags of several commands.
#ifndef DENOISE_CLIENT_CLI_FLAGS_COMMON_FLAGS_H_
#define DENOISE_CLIENT_CLI_FLAGS_COMMON_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/pictures/picture.h"
#include "client/flags/credential_flags.h"
#include "denoise/client.h"

// CLI11 is parsed only where flags are added (client/cli/flags/*.cc): it takes seconds.
namespace CLI {
class App;
}  // namespace CLI

namespace denoise::cli {

// Where a server is, how it is called, and what becomes of its answer.
struct ServerFlags {
  std::string address = "127.0.0.1:8500";
  absl::Duration connect_timeout = absl::Seconds(3);
  absl::Duration timeout = absl::InfiniteDuration();
  std::string request_id = {};
  CredentialFlags credentials = {};
  bool json = false;
};

// Those of every command but admin.
struct CommonFlags : ServerFlags {
  int retries = 0;
  std::string tenant;
  bool quiet = false;

  CallOptions call_options() const;
};

// Each that lasts is also in the environment: --address as PREFIX_ADDRESS.
void AddServerFlags(CLI::App* app, const std::string& prefix, ServerFlags* flags);

void AddCommonFlags(CLI::App* app, CommonFlags* flags);

// INVALID_ARGUMENT, naming the flag, for credentials that are invalid.
absl::StatusOr<ClientOptions> ClientOptionsOf(const ServerFlags& flags);

// Which model is meant.
struct ModelFlags {
  std::string name;
  int64_t version = 0;
};

// --priority, of what waits for the denoiser.
void AddPriorityFlag(CLI::App* app, int32_t* priority);

void AddModelFlags(CLI::App* app, ModelFlags* flags);

absl::StatusOr<Client> Connect(const CommonFlags& flags);

// [C, H, W] of the model's samples, as they are or, where it has a decoder, decoded.
const std::vector<int64_t>& ShapeOf(const Model& model, bool decoded);

// How the model's samples are drawn: likewise. INVALID_ARGUMENT for those with neither 1 nor 3
// channels, and for latents.
absl::StatusOr<SampleFormat> FormatOf(const Model& model, bool decoded);

// Pixels a side of what a sample's pixel becomes in a picture: `scale`, or, for 0, as many as bring
// a small sample to about `side`.
int ScaleFor(int scale, const SampleFormat& format, int side);

// Where 28 pixels are a thumb's width; and half of it, since noise that moves makes large files.
inline constexpr int kPictureSide = 112;
inline constexpr int kAnimationSide = 56;

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_FLAGS_COMMON_FLAGS_H_
