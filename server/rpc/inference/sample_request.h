// A request of NAME.sample as a SampleRequest of the API, so that one validator and one way through
// the engines serve both.
#ifndef DENOISE_SERVER_RPC_INFERENCE_SAMPLE_REQUEST_H_
#define DENOISE_SERVER_RPC_INFERENCE_SAMPLE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/rpc/inference/infer_inputs.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/infer_outputs.h"
#include "server/rpc/messages/request_validator.h"

namespace denoise {

// Translates the inputs; values are the validator's to check. `every_n_steps`: as a parameter of
// the request; nullopt: not given. `streamed`: whether states can be sent. Fills in `outputs` where
// the request named none: "sample", and where states are asked for what says them. FieldErrors.
absl::StatusOr<v1::SampleRequest> MakeSampleRequest(const InferModel& model,
                                                    std::vector<InferTensor> inputs,
                                                    std::optional<uint64_t> every_n_steps,
                                                    bool streamed, InferOutputs* outputs);

// Whether the outputs of a request that was validated fit into a message, and into the shared
// memory that is meant for them. A FieldError.
absl::Status CheckSampleOutputs(const Request& request, const InferOutputs& outputs,
                                const Limits& limits);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_SAMPLE_REQUEST_H_
