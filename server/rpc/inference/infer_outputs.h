// The output tensors that a ModelInferRequest wants, and how they are answered.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_OUTPUTS_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_OUTPUTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/shared_memory.h"

namespace denoise {

struct InferOutput {
  std::string name;
  std::optional<SharedMemory::Place> place;  // nullopt: in the message
};

// In the order in which they were named; none where the request names none.
class InferOutputs {
 public:
  // Each one of `specs`, and once; a place in shared memory is within a region. FieldErrors
  // "outputs[\"out\"]" and below it; NOT_FOUND for a region that is not registered.
  static absl::StatusOr<InferOutputs> Read(const inference::ModelInferRequest& message,
                                           absl::Span<const TensorSpec> specs,
                                           const SharedMemory& shared_memory);

  bool named() const { return !outputs_.empty(); }
  // As if the request had named these, where it named none.
  void UseIfNoneNamed(std::vector<std::string> names);
  // Null where it is not wanted.
  const InferOutput* Find(absl::string_view name) const;
  absl::Span<const InferOutput> all() const { return outputs_; }

 private:
  std::vector<InferOutput> outputs_;
};

// "outputs[\"out\"]", for errors.
std::string FieldOfOutput(absl::string_view name);

// A FieldError where the output's shared memory has less than `bytes`.
absl::Status CheckRoom(const InferOutput& output, uint64_t bytes);

// Adds the output to the response, its bytes there or in shared memory. As SharedMemory::Write.
absl::Status AddOutput(const InferOutput& output, InferType type, absl::Span<const int64_t> shape,
                       std::string data, const SharedMemory& shared_memory,
                       inference::ModelInferResponse* response);

// The bytes of values, and of elements of BYTES.
std::string BytesOfFloats(absl::Span<const float> values);
std::string BytesOfUint32(uint32_t value);
std::string BytesOfStrings(absl::Span<const std::string> elements);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_OUTPUTS_H_
