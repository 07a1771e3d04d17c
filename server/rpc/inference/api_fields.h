// Inputs of the Open Inference Protocol that are fields of denoise.v1, both ways.
#ifndef DENOISE_SERVER_RPC_INFERENCE_API_FIELDS_H_
#define DENOISE_SERVER_RPC_INFERENCE_API_FIELDS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/inference/infer_inputs.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/messages/conditions_proto.h"

namespace denoise {

// Takes those of `tensors` that are conditions of the model, by the names of model.json. A
// FieldError where one has another type.
absl::StatusOr<ConditionMap> TakeConditions(const InferModel& model,
                                            std::vector<InferTensor>* tensors);

// A FieldError about a field of the API, such as "sampler.steps" or "conditions[\"text\"].shape",
// as one about the input that it came from: "inputs[\"steps\"]", "inputs[\"text\"].shape". Others
// stay as they are.
absl::Status InTermsOfInputs(const absl::Status& status, const InferModel& model);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_API_FIELDS_H_
