#include "server/rpc/access/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace denoise {
namespace {

constexpr unsigned kRefreshSeconds = 5;

template <typename T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX, SSL_CTX_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES, GENERAL_NAMES_free>>;

absl::Status Bad(const char* flag, const std::string& path, const char* what) {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": '", path, "' ", what,
                                                 reason == nullptr ? "" : ": ",
                                                 reason == nullptr ? "" : reason));
}

Certificate ReadCertificate(const std::string& path) {
  const Bio file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) return nullptr;
  return Certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
}

std::string Text(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

std::string Address(const ASN1_OCTET_STRING* bytes) {
  std::array<char, INET6_ADDRSTRLEN> text;
  const int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
  if (inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size()) == nullptr) {
    return "";
  }
  return text.data();
}

std::string CommonName(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return "";
  return Text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

}  // namespace

absl::Status CheckCertificateFiles(const CertificateFiles& files) {
  if (!files.enabled()) return absl::OkStatus();
  for (const auto& [flag, path] :
       {std::pair{"--tls-cert", &files.certificate}, std::pair{"--tls-key", &files.key},
        std::pair{"--tls-client-ca", &files.client_ca}}) {
    if (!path->empty() && access(path->c_str(), R_OK) != 0) {
      return Bad(flag, *path, "cannot be read");
    }
  }
  ERR_clear_error();
  const Context context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return Bad("--tls-cert", files.certificate, "is not a certificate in PEM form");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Bad("--tls-key", files.key, "is not the private key of --tls-cert in PEM form");
  }
  if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(context.get()))) < 0) {
    return Bad("--tls-cert", files.certificate, "has expired: give a certificate that is valid");
  }
  if (!files.client_ca.empty() &&
      SSL_CTX_load_verify_locations(context.get(), files.client_ca.c_str(), nullptr) != 1) {
    return Bad("--tls-client-ca", files.client_ca, "holds no certificates in PEM form");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> NameInCertificate(const std::string& path) {
  const Certificate certificate = ReadCertificate(path);
  if (certificate == nullptr) return Bad("--tls-cert", path, "is not a certificate in PEM form");
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    if (name->type == GEN_DNS) text = Text(name->d.dNSName);
    if (name->type == GEN_IPADD) text = Address(name->d.iPAddress);
    if (!text.empty()) return text;
  }
  std::string common_name = CommonName(certificate.get());
  if (common_name.empty()) return Bad("--tls-cert", path, "names no host");
  return common_name;
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const CertificateFiles& files) {
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.certificate, files.client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  if (!files.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace denoise
