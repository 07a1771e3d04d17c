// Models as the Open Inference Protocol and Triton's extensions describe them.
#ifndef DENOISE_SERVER_RPC_INFERENCE_MODEL_DESCRIPTION_H_
#define DENOISE_SERVER_RPC_INFERENCE_MODEL_DESCRIPTION_H_

#include <cstdint>
#include <vector>

#include "inference/grpc_service.pb.h"
#include "server/rpc/inference/infer_model.h"

namespace denoise {

// `versions`: all that there are of the name, ascending.
void DescribeModel(const InferModel& model, const std::vector<int64_t>& versions,
                   inference::ModelMetadataResponse* message);

void DescribeConfig(const InferModel& model, inference::ModelConfig* message);

void DescribeEntry(const InferEntry& entry,
                   inference::RepositoryIndexResponse::ModelIndex* message);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_MODEL_DESCRIPTION_H_
