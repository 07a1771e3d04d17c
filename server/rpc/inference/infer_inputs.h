// The input tensors of a ModelInferRequest, wherever their bytes are.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_INPUTS_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_INPUTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "denoise/v1/diffusion.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/shared_memory.h"

namespace denoise {

// A tensor whose shape and bytes agree.
struct InferTensor {
  std::string name;
  InferType type = InferType::kFp32;
  std::vector<int64_t> shape;  // every extent from 1 on
  // Row-major, little-endian; of BYTES each element with its length before it, in four bytes.
  std::string data;

  // "inputs[\"x\"]", for errors.
  std::string field() const;
};

// Copies and checks the inputs of a request, which are to be some of `specs`, each once: known
// names and types, shapes that the bytes make. Shapes and values beyond that are the reader's to
// check. At most `max_bytes` of them in all. FieldErrors "inputs[\"x\"]" and below it,
// "raw_input_contents"; NOT_FOUND for a region of shared memory that is not registered.
absl::StatusOr<std::vector<InferTensor>> ReadInputs(const inference::ModelInferRequest& message,
                                                    absl::Span<const TensorSpec> specs,
                                                    const SharedMemory& shared_memory,
                                                    uint64_t max_bytes);

// Takes the tensor of that name out of `tensors`.
std::optional<InferTensor> TakeInput(const std::string& name, std::vector<InferTensor>* tensors);

// As a tensor of the API. FP32, INT64 and BOOL; a FieldError "inputs[\"x\"].datatype" unless it has
// the type `wanted`.
absl::StatusOr<v1::Tensor> ToTensor(InferTensor tensor, InferType wanted);

// The elements of a tensor of one dimension of any integer type, or, for Floats, of FP32 or any
// integer type. FieldErrors where it is another, or its values do not fit.
absl::StatusOr<std::vector<int64_t>> Integers(const InferTensor& tensor);
absl::StatusOr<std::vector<double>> Floats(const InferTensor& tensor);

// The one element of a tensor of shape [1]. A FieldError where it has another shape or type, or a
// value that does not fit (Unsigned: 0..max).
absl::StatusOr<uint64_t> Unsigned(const InferTensor& tensor, uint64_t max);
absl::StatusOr<float> Float(const InferTensor& tensor);
absl::StatusOr<bool> Bool(const InferTensor& tensor);
absl::StatusOr<std::string> Text(const InferTensor& tensor);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_INPUTS_H_
