// What the commands print about a model.
#ifndef DENOISE_CLIENT_CLI_DESCRIBE_MODEL_H_
#define DENOISE_CLIENT_CLI_DESCRIBE_MODEL_H_

#include <string>

#include "denoise/types.h"
#include "nlohmann/json.hpp"

namespace denoise::cli {

// A few lines, the last without a newline at its end.
std::string Describe(const Model& model);

// All of it.
nlohmann::json ToJson(const Model& model);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_DESCRIBE_MODEL_H_
