// A load's figures, for people and for programs.
#ifndef DENOISE_CLIENT_CLI_LOAD_LOAD_REPORT_H_
#define DENOISE_CLIENT_CLI_LOAD_LOAD_REPORT_H_

#include "client/cli/console.h"
#include "client/cli/load/load_stats.h"
#include "nlohmann/json.hpp"

namespace denoise::cli {

// Rates, a table of percentiles overall and by step count, errors by code.
void Tell(const LoadStats& stats, Console& console);

// The same; durations in seconds, percentiles null where there is nothing that they were of.
nlohmann::json ToJson(const LoadStats& stats);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_LOAD_REPORT_H_
