// The events of one stream: each is checked, and the order in which they come. DATA_LOSS for what
// breaks the protocol.
#ifndef DENOISE_CLIENT_SRC_STREAM_DECODERS_H_
#define DENOISE_CLIENT_SRC_STREAM_DECODERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/types.h"
#include "denoise/v1/diffusion.pb.h"

namespace denoise {
inline namespace client_v1 {

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

class EvaluateDecoder {
 public:
  explicit EvaluateDecoder(const EvaluateRequest& request);
  absl::StatusOr<EvaluateEvent> Decode(const v1::EvaluateEvent& wire);
  absl::Status AtEnd() const;

 private:
  enum class Phase { kBegin, kTerms, kEnd };
  absl::StatusOr<EvaluateEvent> DecodeAcceptedTerms(const v1::Accepted& wire);
  absl::StatusOr<EvaluateEvent> DecodeTerm(const v1::Term& wire);
  absl::StatusOr<EvaluateEvent> DecodeLikelihood(const v1::Likelihood& wire) const;

  const size_t num_samples_;
  const size_t most_terms_;
  Phase phase_ = Phase::kBegin;
  // Terms that have not come, by timestep; and how many.
  std::vector<bool> missing_;
  size_t num_missing_ = 0;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_STREAM_DECODERS_H_
