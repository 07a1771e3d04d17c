// Requests of the Open Inference Protocol, put together as tritonclient does.
#ifndef DENOISE_TESTS_UNIT_RPC_INFERENCE_INFER_MESSAGE_H_
#define DENOISE_TESTS_UNIT_RPC_INFERENCE_INFER_MESSAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "inference/grpc_service.pb.h"

namespace denoise {

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Adds an input without bytes.
inline inference::ModelInferRequest::InferInputTensor* AddInput(
    const std::string& name, const std::string& datatype, const std::vector<int64_t>& shape,
    inference::ModelInferRequest* message) {
  auto* input = message->add_inputs();
  input->set_name(name);
  input->set_datatype(datatype);
  input->mutable_shape()->Assign(shape.begin(), shape.end());
  return input;
}

// Adds an input whose bytes are raw.
inline void AddRaw(const std::string& name, const std::string& datatype,
                   const std::vector<int64_t>& shape, const std::string& bytes,
                   inference::ModelInferRequest* message) {
  AddInput(name, datatype, shape, message);
  message->add_raw_input_contents(bytes);
}

inline void AddFloats(const std::string& name, const std::vector<int64_t>& shape,
                      const std::vector<float>& values, inference::ModelInferRequest* message) {
  AddRaw(name, "FP32", shape, BytesOf(values), message);
}

// One element of BYTES.
inline std::string Element(const std::string& text) {
  return BytesOf(std::vector<uint32_t>{static_cast<uint32_t>(text.size())}) + text;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_INFERENCE_INFER_MESSAGE_H_
