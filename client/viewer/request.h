// What the page asks for, as JSON.
//
//     {"kind": "sample", "model": "digits", "n": 4, "seed": 1, "sampler": "ddim", "steps": 50,
//      "eta": 0, "class": 7, "guidance": 2, "image": […], "strength": 0.6}
//     {"kind": "sample", …, "image": […], "mask": […]}
//     {"kind": "diffuse", "image": […], "seed": 1, "timesteps": [100, 500, 999]}
//     {"kind": "evaluate", "image": […], "seed": 1, "class": 7, "terms": 20}
//
// Images are bytes, [C·H·W] of 0..255 for the model's value range; masks are [H·W] of 0..255, where
// 255 keeps the image. What is absent is the model's default.
#ifndef DENOISE_CLIENT_VIEWER_REQUEST_H_
#define DENOISE_CLIENT_VIEWER_REQUEST_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "denoise/types.h"
#include "nlohmann/json.hpp"

namespace denoise::viewer {

using RunRequest = std::variant<SampleRequest, DiffuseRequest, EvaluateRequest>;

inline constexpr uint32_t kMaxSamples = 64;
// States of one sample that a browser is asked to keep; longer chains are shown in so many.
inline constexpr uint32_t kMaxShownSteps = 50;

// The document's "model", empty where it has none. INVALID_ARGUMENT where `body` is no JSON object.
absl::StatusOr<nlohmann::json> ParseBody(const std::string& body);
absl::StatusOr<std::string> ModelOf(const nlohmann::json& document);

// [C, H, W] of the pictures that a model's samples are shown as.
const std::vector<int64_t>& ShownShape(const Model& model);

// INVALID_ARGUMENT names the field, its value and what would be right. Of a model with a decoder
// samples are drawn from noise alone.
absl::StatusOr<RunRequest> ParseRun(const nlohmann::json& document, const Model& model);

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_REQUEST_H_
