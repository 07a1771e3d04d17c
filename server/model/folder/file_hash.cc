#include "server/model/folder/file_hash.h"

#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace denoise {

absl::StatusOr<std::string> HashFile(const std::string& path, absl::string_view key,
                                     absl::string_view expected) {
  namespace fs = std::filesystem;
  const std::string file = fs::path(path).filename().string();
  std::error_code error;
  std::ifstream stream(path, std::ios::binary);
  if (!fs::is_regular_file(path, error) || !stream) {
    return absl::NotFoundError(absl::StrCat(file, ": is not there or cannot be read"));
  }
  if (fs::file_size(path, error) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": is empty: export it again, and copy it whole"));
  }

  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  std::vector<char> piece(size_t{1} << 20);
  bool good = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  while (good && stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    good = EVP_DigestUpdate(context.get(), piece.data(), static_cast<size_t>(stream.gcount())) == 1;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  good = good && EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1;
  if (!good || stream.bad()) {
    return absl::InternalError(absl::StrCat(file, ": could not be read to its end and hashed"));
  }
  const std::string hash =
      absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
  if (!expected.empty() && hash != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": its ", key, " is ", hash, ", where model.json says ", expected,
                     ": the file is damaged or another one; copy the model again"));
  }
  return hash;
}

}  // namespace denoise
