// What the server shows of itself, and asks of its callers, before the first byte of a call.
#ifndef DENOISE_SERVER_RPC_ACCESS_TLS_H_
#define DENOISE_SERVER_RPC_ACCESS_TLS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace denoise {

// Paths of PEM files; empty: none.
struct CertificateFiles {
  std::string certificate;  // the server's, with its chain; empty: no TLS
  std::string key;          // of the certificate; needed with it
  std::string client_ca;    // CA certificates of callers; empty: callers need no certificate

  bool enabled() const { return !certificate.empty(); }
};

// INVALID_ARGUMENT, naming the flag and the file, for files that cannot be read or hold something
// else, for a key that is not the certificate's, and for a certificate that has expired. OK where
// there is no TLS.
absl::Status CheckCertificateFiles(const CertificateFiles& files);

// A name that the certificate in this file is valid for: the first DNS name or IP address of its
// subjectAltName, or its common name. INVALID_ARGUMENT where there is none.
absl::StatusOr<std::string> NameInCertificate(const std::string& path);

// Plain ones without TLS. Otherwise the files are read again every few seconds, and connections
// made after a change get the new ones. gRPC takes what it finds: while the files are of no use,
// new connections are refused.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const CertificateFiles& files);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_TLS_H_
