// An inference on the denoiser itself, as a request that the engines run beside all others.
#ifndef DENOISE_SERVER_RPC_INFERENCE_DENOISER_REQUEST_H_
#define DENOISE_SERVER_RPC_INFERENCE_DENOISER_REQUEST_H_

#include <vector>

#include "absl/status/statusor.h"
#include "server/rpc/inference/infer_inputs.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/messages/request_validator.h"

namespace denoise {

// Checks the inputs of NAME and makes one chain of one row of each sample, which joins a batch like
// any other: x [N, C, H, W] FP32, finite; timestep [1 or N] FP32 or whole, 0..T-1, of a flow model
// 0..T; labels [1 or N]; conditions [1 or N, …]. N is at most limits.max_samples, and the answer at
// most a message. FieldErrors. A Request without what is not in the message, as RequestValidator's.
absl::StatusOr<Request> MakeDenoiserRequest(const InferModel& model,
                                            std::vector<InferTensor> inputs, const Limits& limits);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_DENOISER_REQUEST_H_
