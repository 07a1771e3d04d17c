// Proves of a decoder what decoding samples of different chains together needs.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_DECODER_EXAMINATION_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_DECODER_EXAMINATION_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/carrier.h"
#include "server/model/denoiser/decoder.h"
#include "server/model/examination/examination_report.h"

namespace denoise {

// The findings about a decoder that passed: as in DecoderInfo.
struct DecoderFindings {
  SampleShape shape;
  int64_t max_rows = 1;
};

// Calls the decoder with some standard normal latents and shows that it answers floating point
// [N, C', H', W'], finite; that equal calls give equal answers; and, where samples are decoded
// together, that a sample's answer does not depend on those beside it. What was found is added to
// `results`.
//
// Together are decoded as many as make half a million values, and 16 at most, by a fixed rule: a
// decoder's memory grows with the pixels that it makes, and its speed hardly with their number.
// With `one_by_one` none are, and equal calls must have equal bits.
//
// INVALID_ARGUMENT where it is not so: one line with the reason and the fix. RESOURCE_EXHAUSTED
// where memory ran out. `info`: what the files say. Every call is made through `carrier`.
absl::StatusOr<DecoderFindings> ExamineDecoder(const Decoder& decoder, const ModelInfo& info,
                                               bool one_by_one, const Carrier& carrier,
                                               std::vector<TestResult>* results);

// How far apart two decoders' answers to the same latents are, each alone: max|a-b| / max|b|.
// Infinite where a value is not finite. `info` with the examination's findings.
absl::StatusOr<double> DecoderDifference(const Decoder& a, const Decoder& b, const ModelInfo& info,
                                         const Carrier& carrier);

// A call at each size that the engine makes, each through `carrier`: the first are slow.
absl::Status WarmUpDecoder(const Decoder& decoder, const ModelInfo& info, const Carrier& carrier);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_DECODER_EXAMINATION_H_
