// Parameters of the Open Inference Protocol: of requests, inputs and outputs.
#ifndef DENOISE_SERVER_RPC_INFERENCE_PARAMETERS_H_
#define DENOISE_SERVER_RPC_INFERENCE_PARAMETERS_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/inference/shared_memory.h"

namespace denoise {

using ParameterMap = google::protobuf::Map<std::string, inference::InferParameter>;

// A FieldError "`field`[\"name\"]" for a parameter that is none of `known`; the first in
// alphabetical order.
absl::Status CheckKnown(const ParameterMap& parameters,
                        std::initializer_list<absl::string_view> known, absl::string_view field);

// A parameter that is a whole number from 0 on; nullopt: it is not there. A FieldError.
absl::StatusOr<std::optional<uint64_t>> WholeNumber(const ParameterMap& parameters,
                                                    const std::string& name,
                                                    absl::string_view field);

// Where the tensor `field` ("inputs[\"x\"]") of these parameters lies, or is wanted; nullopt: not
// in shared memory. They may have no other parameters. A FieldError.
absl::StatusOr<std::optional<SharedMemory::Place>> PlaceOf(const ParameterMap& parameters,
                                                           absl::string_view field);
// The parameters that say so.
void SetPlace(const SharedMemory::Place& place, ParameterMap* parameters);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_PARAMETERS_H_
