// Reads the `inputs` of model.json.
#ifndef DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_INPUTS_H_
#define DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_INPUTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/model_info.h"
#include "server/model/folder/json_keys.h"

namespace denoise {

// 2^28 values are 1 GiB a register.
constexpr int64_t kMostValues = int64_t{1} << 28;

// Fills info->inputs, as model_json.h describes the key; `info` has its num_classes already. Keys
// that are not known within an input are added to `ignored_keys`. What is wrong goes to `keys`.
void ReadInputs(Keys& keys, ModelInfo* info, std::vector<std::string>* ignored_keys);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_INPUTS_H_
