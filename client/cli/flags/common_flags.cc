#include "client/cli/flags/common_flags.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/cli/flags/flag_types.h"

namespace denoise::cli {

CallOptions CommonFlags::call_options() const {
  CallOptions options;
  options.request_id = request_id;
  if (!tenant.empty()) options.metadata.emplace_back("denoise-tenant", tenant);
  return options;
}

void AddServerFlags(CLI::App* app, const std::string& prefix, ServerFlags* flags) {
  app->add_option("--address", flags->address,
                  "Server: HOST:PORT, dns:///NAME:PORT, or several as ipv4:A:1,B:2")
      ->envname(prefix + "_ADDRESS")
      ->capture_default_str();
  AddDuration(app, "--connect-timeout", &flags->connect_timeout, "How long to try to connect [3s]")
      ->envname(prefix + "_CONNECT_TIMEOUT");
  AddDuration(app, "--timeout", &flags->timeout, "Timeout of a call, on the server too [none]")
      ->envname(prefix + "_TIMEOUT");
  app->add_option("--request-id", flags->request_id, "Name of the call in the server's log");
  AddCredentialFlags(app, prefix, &flags->credentials);
  app->add_flag("--json", flags->json, "Write one JSON document to stdout, and nothing else");
}

void AddCommonFlags(CLI::App* app, CommonFlags* flags) {
  AddServerFlags(app, "DENOISE", flags);
  app->add_option("--retries", flags->retries,
                  "Retries of a call whose server is unavailable or breaks off; a stream goes "
                  "on where it broke [0]")
      ->envname("DENOISE_RETRIES")
      ->check(Whole(0, 100));
  app->add_option("--tenant", flags->tenant,
                  "Tenant of the call, for the server's shares and limits [none]")
      ->envname("DENOISE_TENANT");
  app->add_flag("-q,--quiet", flags->quiet, "Show no progress");
}

void AddPriorityFlag(CLI::App* app, int32_t* priority) {
  app->add_option("--priority", *priority, "-100 to 100: higher goes first [0]")
      ->check(Whole(-100, 100));
}

void AddModelFlags(CLI::App* app, ModelFlags* flags) {
  app->add_option("--model", flags->name, "Name of the model [the only one that is served]")
      ->envname("DENOISE_MODEL");
  app->add_option("--model-version", flags->version, "Its version [the newest]")
      ->check(Whole(0, std::numeric_limits<int64_t>::max()));
}

absl::StatusOr<ClientOptions> ClientOptionsOf(const ServerFlags& flags) {
  ClientOptions options;
  options.connect_timeout = flags.connect_timeout;
  options.default_timeout = flags.timeout;
  options.user_agent = "denoise";
  if (absl::Status status = ApplyCredentialFlags(flags.credentials, &options); !status.ok()) {
    return status;
  }
  return options;
}

absl::StatusOr<Client> Connect(const CommonFlags& flags) {
  auto options = ClientOptionsOf(flags);
  if (!options.ok()) return options.status();
  options->retry.max_attempts = 1 + flags.retries;
  auto client = Client::Connect(flags.address, *options);
  if (absl::IsUnavailable(client.status())) {
    return absl::UnavailableError(absl::StrCat(
        std::string(client.status().message()),
        " (is denoised running there? name another server by --address or DENOISE_ADDRESS)"));
  }
  return client;
}

const std::vector<int64_t>& ShapeOf(const Model& model, bool decoded) {
  return decoded && model.has_decoder ? model.decoded_shape : model.sample_shape;
}

absl::StatusOr<SampleFormat> FormatOf(const Model& model, bool decoded) {
  if (model.has_decoder && !decoded) {
    return absl::InvalidArgumentError(
        absl::StrCat("samples of '", model.name,
                     "' are latents, and no pictures: use the numbers, as a .npy file"));
  }
  const std::vector<int64_t>& shape = ShapeOf(model, decoded);
  const int64_t channels = shape[0];
  if (channels != 1 && channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("samples of '", model.name, "' have ", channels,
                     " channels, and pictures 1 or 3: use the numbers, as a .npy file"));
  }
  return SampleFormat{.channels = static_cast<int>(channels),
                      .height = static_cast<int>(shape[1]),
                      .width = static_cast<int>(shape[2]),
                      .value_min = model.has_decoder ? model.decoded_value_min : model.value_min,
                      .value_max = model.has_decoder ? model.decoded_value_max : model.value_max};
}

int ScaleFor(int scale, const SampleFormat& format, int side) {
  if (scale > 0) return scale;
  return std::max(1, side / std::max(format.width, format.height));
}

}  // namespace denoise::cli
