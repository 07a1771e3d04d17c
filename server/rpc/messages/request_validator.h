// From a message of the API to a request that the engines can run. Everything that a caller sends
// is checked here, and none of its tensors is copied before all of them were found right.
#ifndef DENOISE_SERVER_RPC_MESSAGES_REQUEST_VALIDATOR_H_
#define DENOISE_SERVER_RPC_MESSAGES_REQUEST_VALIDATOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/request.h"
#include "server/rpc/messages/event_encoder.h"
#include "server/rpc/messages/table_cache.h"

namespace denoise {

// What a caller may ask for.
struct Limits {
  uint32_t max_samples = 64;              // chains of a request
  uint64_t max_message_bytes = 64 << 20;  // of a message, either way
  uint64_t max_state_bytes = 256 << 10;   // of a request's states waiting for their reader
};

// A checked request. `request` lacks what is not in the message: id, tenant and limits, arrival,
// deadline and stream.
struct Validated {
  Request request;
  Encodings encodings;
};

// Thread-safe.
class RequestValidator {
 public:
  // `tables` outlives it.
  RequestValidator(Limits limits, TableCache* tables) : limits_(limits), tables_(tables) {}

  // `model` is the one that the message names. An error is a FieldError that says the value and
  // what would be right.
  absl::StatusOr<Validated> Validate(const v1::SampleRequest& message,
                                     const std::shared_ptr<const ModelInfo>& model) const;
  absl::StatusOr<Validated> Validate(const v1::DiffuseRequest& message,
                                     const std::shared_ptr<const ModelInfo>& model) const;
  absl::StatusOr<Validated> Validate(const v1::EvaluateRequest& message,
                                     const std::shared_ptr<const ModelInfo>& model) const;

 private:
  absl::Status CheckAnswerSize(const ModelInfo& model, uint64_t samples, bool png, bool decoded,
                               absl::string_view field) const;
  absl::StatusOr<uint32_t> CheckX0(bool given, const v1::Tensor& x_0, const ModelInfo& model) const;

  const Limits limits_;
  TableCache* const tables_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_REQUEST_VALIDATOR_H_
