#include "server/model/examination/numerics_id.h"

#include <openssl/evp.h>

#include <array>
#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/model/examination/examiner.h"
#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

// The first half of the SHA-256, hexadecimal.
std::string Hash(absl::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size / 2));
}

}  // namespace

std::string NumericsId(const ModelInfo& info, const Machine& machine,
                       const std::string& probe_bits) {
  const std::string& file = info.executor == "aotinductor" ? info.package_sha256 : info.sha256;
  std::string all =
      absl::StrJoin({file, machine.libtorch, machine.capability, info.executor, info.layout,
                     info.precision, absl::StrCat(info.threads),
                     std::string(info.batch_invariant ? "sizes agree" : "any size"), probe_bits},
                    "\n");
  if (info.decoder.has_value()) absl::StrAppend(&all, "\n", info.decoder->sha256);
  return Hash(all);
}

absl::StatusOr<std::string> ProbeBits(const Denoiser& denoiser, const ModelInfo& info) try {
  const ExampleRows rows(info);
  Examiner examiner(denoiser, info, rows, info.integer_time, info.batch_sizes.back());
  // A set, so that how many sizes there are, which was measured, makes no difference.
  std::set<std::string> bits;
  for (const int64_t size : info.batch_sizes) {
    std::vector<Probe> probes;
    for (int64_t i = 0; i < size; ++i) {
      const auto picture = static_cast<int>(i % ExampleRows::kRows);
      probes.push_back({picture, 0, 0, static_cast<uint32_t>(picture)});
    }
    const absl::StatusOr<Answer> answer = examiner.Ask(probes);
    if (!answer.ok()) return answer.status();
    bits.insert(Hash(absl::string_view(reinterpret_cast<const char*>(answer->row(0)),
                                       answer->values * sizeof(float))));
  }
  return absl::StrJoin(bits, " ");
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
