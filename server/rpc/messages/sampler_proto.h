// What a request says of its chains' table.
#ifndef DENOISE_SERVER_RPC_MESSAGES_SAMPLER_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_SAMPLER_PROTO_H_

#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/diffusion/sampler.h"
#include "server/engine/model_info.h"

namespace denoise {

// What the message leaves open is the model's. FieldErrors for enum values that are unknown; ranges
// are checked by MakeTable.
absl::StatusOr<SamplerOptions> OptionsOf(const v1::SampleRequest& message, const ModelInfo& model);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_SAMPLER_PROTO_H_
