// Answers, as they come over the wire: everything in them is checked, for whoever indexes by what a
// hostile or a broken server says.
#ifndef DENOISE_CLIENT_DECODE_H_
#define DENOISE_CLIENT_DECODE_H_

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
absl::StatusOr<Tensor> DecodeTensor(const v1::Tensor& wire, const std::string& field);
// sample_shape has three extents, value_min < value_max, alpha_bars has T values.
absl::StatusOr<Model> DecodeModel(const v1::Model& wire);

// The events of one stream, with the order in which they may come.
class SampleDecoder {
 public:
  // `request`: what was asked.
  explicit SampleDecoder(const SampleRequest& request);
  absl::StatusOr<Event> Decode(const v1::SampleEvent& wire);
  // Whether the stream may end here.
  absl::Status AtEnd() const;

 private:
  enum class Phase { kBegin, kStates, kEnd };
  absl::StatusOr<Result> DecodeResult(const v1::Result& wire) const;

  const uint32_t num_samples_;
  const Encoding encoding_;
  Phase phase_ = Phase::kBegin;
  uint32_t total_steps_ = 0;
};

class DiffuseDecoder {
 public:
  explicit DiffuseDecoder(const DiffuseRequest& request);
  absl::StatusOr<DiffuseEvent> Decode(const v1::DiffuseEvent& wire);
  absl::Status AtEnd() const;

 private:
  const size_t num_timesteps_;
  const uint64_t num_samples_;
  bool accepted_ = false;
  uint64_t states_left_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_DECODE_H_
