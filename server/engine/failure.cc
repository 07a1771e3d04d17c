#include "server/engine/failure.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

std::string Where(const Chain& chain, const Row* row) {
  if (chain.request->evaluation != nullptr) {
    return absl::StrCat("sample_index ", chain.index, ", timestep ", row->timestep, ": ");
  }
  if (row == nullptr) return absl::StrCat("sample_index ", chain.index, ", step 0: ");
  return absl::StrCat("sample_index ", chain.index, ", step ", row->step, " (t = ", row->timestep,
                      "): ");
}

Failure Failed(const char* reason, const Chain& chain, const Row* row, const absl::Status& status) {
  return {reason, absl::Status(status.code(), absl::StrCat(Where(chain, row), status.message()))};
}

}  // namespace

std::optional<Failure> FailureOf(const Chain& chain, const Row* row,
                                 const RowBatch::Outcome& outcome) {
  if (!outcome.status.ok()) return Failed("denoiser_error", chain, row, outcome.status);
  if (!outcome.finite) {
    return Failed("not_finite", chain, row,
                  absl::InternalError("the denoiser's answer is not finite"));
  }
  if (!outcome.decoder_status.ok()) {
    return Failed("decoder_error", chain, row, outcome.decoder_status);
  }
  return std::nullopt;
}

}  // namespace denoise
