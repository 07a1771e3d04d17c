// The flags for TLS and tokens, by which server and client are authenticated.
#ifndef DENOISE_CLIENT_FLAGS_CREDENTIAL_FLAGS_H_
#define DENOISE_CLIENT_FLAGS_CREDENTIAL_FLAGS_H_

#include <string>

#include "absl/status/status.h"
#include "denoise/options.h"

namespace CLI {
class App;
}  // namespace CLI

namespace denoise {

struct CredentialFlags {
  bool tls = false;
  TlsFiles files;
  std::string server_name;
  std::string token_file;
};

// Each is also in the environment: --tls-ca as PREFIX_TLS_CA. `flags` outlives the app.
void AddCredentialFlags(CLI::App* app, const std::string& prefix, CredentialFlags* flags);

// Puts them into the options. An error names the flag.
absl::Status ApplyCredentialFlags(const CredentialFlags& flags, ClientOptions* options);

}  // namespace denoise

#endif  // DENOISE_CLIENT_FLAGS_CREDENTIAL_FLAGS_H_
