#include "client/cli/exit_codes.h"

namespace denoise::cli {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return EX_OK;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return EX_DATAERR;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnimplemented:
      return EX_UNAVAILABLE;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return EX_TEMPFAIL;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return EX_NOPERM;
    default:
      return EX_SOFTWARE;
  }
}

const char kExitCodesHelp[] =
    "Exit status:\n"
    "  0 done   64 bad flag   65 the request or a file's content is refused   66 no such file\n"
    "  69 no server   70 the server failed   73 a file cannot be written\n"
    "  75 try again later (busy, or out of time)   77 not allowed   130 interrupted";

}  // namespace denoise::cli
