#include "client/flags/credential_flags.h"

#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"

namespace denoise {

void AddCredentialFlags(CLI::App* app, const std::string& prefix, CredentialFlags* flags) {
  const auto group = [&prefix](CLI::Option* option, const char* variable) {
    return option->group("Security")->envname(prefix + variable);
  };
  group(app->add_flag("--tls", flags->tls, "Speak TLS with the server; implied by --tls-…"),
        "_TLS");
  group(app->add_option("--tls-ca", flags->files.ca,
                        "CA certificates to trust, a PEM file [the system's]"),
        "_TLS_CA");
  auto* certificate = group(app->add_option("--tls-cert", flags->files.certificate,
                                            "The certificate to show the server, a PEM file"),
                            "_TLS_CERT");
  auto* key = group(app->add_option("--tls-key", flags->files.key, "Its private key"), "_TLS_KEY");
  certificate->needs(key);
  key->needs(certificate);
  group(app->add_option("--tls-name", flags->server_name,
                        "The name in the server's certificate [that of the address]"),
        "_TLS_NAME");
  group(app->add_option("--token-file", flags->token_file,
                        "File with the token to send, read for every call; needs TLS"),
        "_TOKEN_FILE");
}

absl::Status ApplyCredentialFlags(const CredentialFlags& flags, ClientOptions* options) {
  const TlsFiles& files = flags.files;
  const bool tls =
      flags.tls || !files.ca.empty() || !files.certificate.empty() || !flags.server_name.empty();
  if (!flags.token_file.empty() && !tls) {
    return absl::InvalidArgumentError(
        "--token-file: the token would be sent in the clear: give --tls or --tls-ca too");
  }
  if (tls) {
    auto read = ReadTls(files);
    if (!read.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tls-ca, --tls-cert, --tls-key: ", std::string(read.status().message())));
    }
    read->server_name = flags.server_name;
    options->tls = *std::move(read);
  }
  if (!flags.token_file.empty()) {
    options->token = TokenFromFile(flags.token_file);
    // A file that is not there is told at once, and not by the first call.
    if (auto token = options->token(); !token.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--token-file: ", std::string(token.status().message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace denoise
