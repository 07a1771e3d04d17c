// The server's log: lines for people, or objects for machines.
#ifndef DENOISE_SERVER_LOG_LOG_H_
#define DENOISE_SERVER_LOG_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "spdlog/formatter.h"
#include "spdlog/spdlog.h"

namespace denoise {

// Either way a line is one event, whatever the strings in it: times are RFC 3339 in UTC, to the
// millisecond.
enum class LogFormat {
  kText,  // TIME LEVEL MESSAGE name=value…; a value with blanks or quotes as a JSON string
  kJson,  // {"time":…,"level":…,"message":…,name:value…}; what is no UTF-8 becomes U+FFFD
};

// A named value of a line.
struct LogField {
  const char* name;  // snake_case, and not time, level or message
  std::variant<std::string, int64_t, double> value;
};

// From now on what is logged through spdlog goes to stderr in that format, by a thread of its own
// (queued_sink.h). Before any thread logs.
void StartLog(LogFormat format, spdlog::level::level_enum level);

// Logs `message` with `fields`, in their order. Thread-safe. What has no fields is logged through
// spdlog itself.
void LogEvent(spdlog::level::level_enum level, absl::string_view message,
              const std::vector<LogField>& fields);

// What writes the lines. For StartLog, and for tests.
std::unique_ptr<spdlog::formatter> NewLogFormatter(LogFormat format);

}  // namespace denoise

#endif  // DENOISE_SERVER_LOG_LOG_H_
