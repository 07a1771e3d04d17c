// What the page is told, as JSON. Numbers that are not finite become null.
#ifndef DENOISE_CLIENT_VIEWER_EVENT_JSON_H_
#define DENOISE_CLIENT_VIEWER_EVENT_JSON_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "denoise/types.h"
#include "nlohmann/json.hpp"

namespace denoise::viewer {

// Each has a "type": accepted, state, result, term, likelihood. Pictures are base64 of PNG files.
nlohmann::json ToJson(const Accepted& accepted);
nlohmann::json ToJson(const State& state);
nlohmann::json ToJson(const Result& result);
nlohmann::json ToJson(const Term& term);
nlohmann::json ToJson(const Likelihood& likelihood);

nlohmann::json ToJson(const Model& model);

// {"type": "error", "code": "UNAVAILABLE", "message": …, "retry_seconds": … or null}
nlohmann::json ErrorToJson(const absl::Status& status);

// The document as text, whatever bytes its strings hold.
std::string Dump(const nlohmann::json& document);

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_EVENT_JSON_H_
