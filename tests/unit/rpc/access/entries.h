// Token files for tests.
#ifndef DENOISE_TESTS_UNIT_RPC_ACCESS_ENTRIES_H_
#define DENOISE_TESTS_UNIT_RPC_ACCESS_ENTRIES_H_

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/rpc/access/credentials.h"

namespace denoise {

struct NamedToken {
  std::string name;
  std::string token;
  std::string more;  // keys and values in JSON, after a comma
};

inline std::string Entries(const std::vector<NamedToken>& named) {
  std::vector<std::string> entries;
  for (const NamedToken& one : named) {
    const Digest digest = DigestOf(one.token);
    const std::string hash = absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
    entries.push_back(
        absl::StrCat(R"({"name": ")", one.name, R"(", "sha256": ")", hash, "\"", one.more, "}"));
  }
  return absl::StrCat("[", absl::StrJoin(entries, ",\n"), "]");
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_ACCESS_ENTRIES_H_
