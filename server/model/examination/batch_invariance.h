// Which batch sizes of a model agree bit for bit.
//
// A kernel may sum in another order at another batch size, so that a row's answer differs in its
// last bits between sizes; within a size, where a vector's remainder is computed in another way, or
// threads share a batch out, even between positions. If all batches have sizes that agree, a row's
// bits are the same alone and in any batch.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_BATCH_INVARIANCE_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_BATCH_INVARIANCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/examination/batch_time.h"

namespace denoise {

class Denoiser;

// For each of `sizes` a number: those with equal numbers, 0, 1, …, gave the same rows the same
// bits, at every position and whatever rows (with other x, t, labels and conditions) were beside
// them; -1 where the position or the other rows made a difference within the size. Conditions of
// open extents are tried at two of them. Eight calls a size (and extent), on the thread of an
// engine. `info` with the examination's findings.
absl::StatusOr<std::vector<int>> FindAgreement(const Denoiser& denoiser, const ModelInfo& info,
                                               const std::vector<int64_t>& sizes);

// The sizes of one agreement that are to be run, from all of `times`, whose agreement[i] is as
// FindAgreement says: of the agreement with the most sizes up to kSurelyMeasured, then with the
// largest size. Guided models need a size of 2 rows. Empty: there is none. A fixed rule and not a
// timing, so that equal servers, and a server that was started again, give equal bits; which of the
// sizes are worth running may then be measured.
std::vector<BatchTime> ChooseAgreement(const std::vector<BatchTime>& times,
                                       const std::vector<int>& agreement, bool may_be_guided);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_BATCH_INVARIANCE_H_
