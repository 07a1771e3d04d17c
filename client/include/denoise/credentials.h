// TLS and tokens: how client and server authenticate each other.
#ifndef DENOISE_CREDENTIALS_H_
#define DENOISE_CREDENTIALS_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace denoise {
inline namespace client_v1 {

// TLS 1.2 or later. All texts are in PEM form.
struct TlsOptions {
  std::string ca_pem = {};  // CA certificates to trust; empty: the system's
  // Mutual TLS: the client's certificate with its chain, and its private key.
  // Both or neither.
  std::string certificate_pem = {};
  std::string key_pem = {};
  // The name or IP address that the server's certificate must be valid for. Empty: that of the
  // address. For addresses that are not in the certificate, and for several, as ipv4:A:1,B:2.
  std::string server_name = {};
};

// Paths of PEM files; empty: none.
struct TlsFiles {
  std::string ca = {};
  std::string certificate = {};
  std::string key = {};
};

// Reads the files. NOT_FOUND, naming it, for one that cannot be read. Files that change later are
// not read again.
absl::StatusOr<TlsOptions> ReadTls(const TlsFiles& files);

// Gives the bearer token of a call, printable ASCII without blanks. Called on the thread that makes
// the call, or, for a later attempt of it, on one of the library's; by several at once. An error
// ends the call.
using TokenSource = std::function<absl::StatusOr<std::string>()>;

// This one, always.
TokenSource FixedToken(std::string token);

// What is in the file when a call is made, without the white space around it, so that tokens may be
// replaced while the program runs. A call is NOT_FOUND where the file cannot be read.
TokenSource TokenFromFile(std::string path);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CREDENTIALS_H_
