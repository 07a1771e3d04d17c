// Class labels and guidance of a request.
#ifndef DENOISE_SERVER_RPC_MESSAGES_GUIDANCE_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_GUIDANCE_PROTO_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "google/protobuf/repeated_field.h"
#include "server/engine/request.h"

namespace denoise {

using LabelList = google::protobuf::RepeatedField<int64_t>;

// One label a sample, from none (the null class), one, or one a sample; empty for models without
// classes. A FieldError "class_labels" or "class_labels[i]".
absl::StatusOr<std::vector<int64_t>> LabelsOf(const LabelList& given, const ModelInfo& model,
                                              uint32_t num_samples);

// Settles whether and how the chains are guided, and away from what. `request` has its model,
// labels and conditions, and the conditions of `message` were checked. A FieldError where a value
// is out of its range, does nothing, or asks of the model what it does not have.
//
// An input is led away from what the request names as its negative, else from the model's null
// class or null value; an input that has neither is the same in both predictions. Where all are the
// same there is nothing to scale, and the request is not guided: the same answer at half the cost.
absl::Status SetGuidance(const v1::SampleRequest& message, Request* request);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_GUIDANCE_PROTO_H_
