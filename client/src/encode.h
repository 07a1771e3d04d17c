// Requests, as they go over the wire.
#ifndef DENOISE_CLIENT_SRC_ENCODE_H_
#define DENOISE_CLIENT_SRC_ENCODE_H_

#include "absl/status/status.h"
#include "denoise/types.h"
#include "denoise/v1/diffusion.pb.h"

namespace denoise {
inline namespace client_v1 {

v1::SampleRequest Encode(const SampleRequest& request);
v1::DiffuseRequest Encode(const DiffuseRequest& request);
v1::EvaluateRequest Encode(const EvaluateRequest& request);

// INVALID_ARGUMENT for a request that the protocol cannot express. The server checks all else.
absl::Status CheckSendable(const SampleRequest& request);
inline absl::Status CheckSendable(const DiffuseRequest&) { return absl::OkStatus(); }
inline absl::Status CheckSendable(const EvaluateRequest&) { return absl::OkStatus(); }

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_ENCODE_H_
