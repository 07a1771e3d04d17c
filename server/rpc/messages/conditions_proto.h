// Further inputs of the denoiser: from the tensors of a message to what the engines take.
#ifndef DENOISE_SERVER_RPC_MESSAGES_CONDITIONS_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_CONDITIONS_PROTO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "denoise/v1/diffusion.pb.h"
#include "google/protobuf/map.h"
#include "server/engine/conditions.h"
#include "server/engine/model_info.h"

namespace denoise {

// SampleRequest.conditions and its like: tensors by the name of an input.
using ConditionMap = google::protobuf::Map<std::string, v1::Tensor>;

// Checks names, dtypes, shapes, sizes and values of `given`, and that it has every input that the
// model has no null value for; without allocating. A null value says no extents, so an input that
// has extents of -1 is always given. At most `max_bytes` in all. A FieldError "conditions" or below
// it ("conditions[\"text\"].shape").
absl::Status CheckConditions(const ConditionMap& given, const ModelInfo& model,
                             uint32_t num_samples, uint64_t max_bytes);

// The same for what guidance leads away from, where `positive` was checked: each has the shape of
// the positive one, and any may be left out. A FieldError "negative_conditions" or below it.
absl::Status CheckNegativeConditions(const ConditionMap& given, const ConditionMap& positive,
                                     const ModelInfo& model, uint32_t num_samples,
                                     uint64_t max_bytes);

// Of maps that were checked. What is left out is the null value; of a negative input that has none,
// the positive one, so that guidance by other inputs leaves it as it is.
Conditions MakeConditions(const ConditionMap& given, const ModelInfo& model);
Conditions MakeNegativeConditions(const ConditionMap& given, const Conditions& positive,
                                  const ModelInfo& model);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_CONDITIONS_PROTO_H_
