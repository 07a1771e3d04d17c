// What tuning measured, for people.
#ifndef DENOISE_SERVER_TUNING_TABLE_H_
#define DENOISE_SERVER_TUNING_TABLE_H_

#include <string>

#include "server/engine/model_info.h"

namespace denoise {

// A line of headings and one for each way of info.tuning, the chosen marked; no newline at the end.
std::string TuningTable(const ModelInfo& info);

}  // namespace denoise

#endif  // DENOISE_SERVER_TUNING_TABLE_H_
