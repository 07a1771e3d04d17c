// Answers, as they come over the wire: everything in them is checked, because callers index by it
// and a server may be hostile or broken.
#ifndef DENOISE_CLIENT_SRC_DECODE_H_
#define DENOISE_CLIENT_SRC_DECODE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/types.h"
#include "denoise/v1/diffusion.pb.h"
#include "google/protobuf/duration.pb.h"

namespace denoise {
inline namespace client_v1 {

// All of these give DATA_LOSS for what breaks the protocol; `field` names the place.

absl::StatusOr<absl::Duration> DecodeDuration(const google::protobuf::Duration& wire,
                                              const std::string& field);
// float32 alone, as samples are.
absl::StatusOr<Tensor> DecodeTensor(const v1::Tensor& wire, const std::string& field);
// sample_shape has three extents, value_min < value_max, likewise of what is decoded, alpha_bars
// has T values. An input's type that is not known to this library is kUnknown.
absl::StatusOr<Model> DecodeModel(const v1::Model& wire);
// How many values timesteps and alpha_bars should have depends on the call.
absl::StatusOr<Accepted> DecodeAccepted(const v1::Accepted& wire);
// Of one of `num_samples` samples; with data [1, C, H, W] where it has content.
absl::StatusOr<State> DecodeState(const v1::State& wire, uint64_t num_samples);
absl::Status CheckCount(const char* field, size_t count, size_t expected);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_DECODE_H_
