// What the program's exit status says: sysexits(3), and what shells expect of an interrupt.
#ifndef DENOISE_CLIENT_CLI_EXIT_CODES_H_
#define DENOISE_CLIENT_CLI_EXIT_CODES_H_

#include <sysexits.h>

#include "absl/status/status.h"

namespace denoise::cli {

// For the status of a call. Files have their own: EX_NOINPUT, EX_DATAERR, EX_CANTCREAT.
int ExitCodeOf(const absl::Status& status);

// For --help.
extern const char kExitCodesHelp[];

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_EXIT_CODES_H_
