// Which servers give equal answers.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_NUMERICS_ID_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_NUMERICS_ID_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/runtime/machine.h"

namespace denoise {

class Denoiser;

// 32 hexadecimal digits: a hash of the sha256 of the files that are run, LibTorch's version, the
// CPU's maker and instruction sets, executor, layout, precision, a replica's threads, whether only
// batch sizes are run that agree bit for bit, and of `probe_bits`. Not of replicas, batch sizes or
// what was measured, which change no bits.
//
// With --batch-invariant, servers with equal ids give equal requests equal bits: their calls are
// the same ones, and were seen to give the probe the same bits. Without, their calls are the same
// ones too, but which batch size a row is run at depends on the other rows, so that results are
// equal up to rounding.
std::string NumericsId(const ModelInfo& info, const Machine& machine,
                       const std::string& probe_bits);

// The bits that a probe row is answered with, as a hash: of every size in info.batch_sizes,
// however many agree. On the thread of an engine.
absl::StatusOr<std::string> ProbeBits(const Denoiser& denoiser, const ModelInfo& info);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_NUMERICS_ID_H_
