// `denoised --examine DIR`.
#ifndef DENOISE_SERVER_EXAMINE_H_
#define DENOISE_SERVER_EXAMINE_H_

#include <ostream>

#include "absl/status/status.h"
#include "server/flags.h"

namespace denoise {

// Loads flags.examine as the server would and writes to `out` what was read, what each test found,
// what tuning measured, how fast each batch size is and which agree bit for bit. The error where
// the server would refuse the model, after what was found until then. On any thread.
absl::Status ExamineModel(const Flags& flags, std::ostream& out);

}  // namespace denoise

#endif  // DENOISE_SERVER_EXAMINE_H_
