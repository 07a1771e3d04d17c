#include "server/log/log.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "server/log/queued_sink.h"

namespace denoise {
namespace {

using nlohmann::json;

// spdlog hands its formatters the text alone. They run on the thread that logs, before the call
// returns, so the fields can wait here.
thread_local const std::vector<LogField>* fields_of_this_line = nullptr;

std::string Time(const spdlog::details::log_msg& line) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(line.time), absl::UTCTimeZone());
}

std::string Level(const spdlog::details::log_msg& line) {
  const auto name = spdlog::level::to_string_view(line.level);
  return std::string(name.data(), name.size());
}

std::string Json(const json& value) {
  return value.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

json ValueOf(const LogField& field) {
  return std::visit([](const auto& value) { return json(value); }, field.value);
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Without line breaks and terminal sequences.
std::string WithoutControls(absl::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (IsControl(c)) {
      absl::StrAppend(&plain, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      plain += c;
    }
  }
  return plain;
}

// As it stands where that can be read back; else as a JSON string.
std::string TextValue(const LogField& field) {
  const auto* text = std::get_if<std::string>(&field.value);
  const bool bare =
      text != nullptr && !text->empty() && std::all_of(text->begin(), text->end(), [](char c) {
        return c > 0x20 && c < 0x7F && c != '"' && c != '=';
      });
  return bare ? *text : Json(ValueOf(field));
}

class LogFormatter final : public spdlog::formatter {
 public:
  explicit LogFormatter(LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    static const std::vector<LogField> kNone;
    const auto& fields = fields_of_this_line != nullptr ? *fields_of_this_line : kNone;
    format_ == LogFormat::kJson ? FormatJson(line, fields, out) : FormatText(line, fields, out);
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LogFormatter>(format_);
  }

 private:
  static void Append(absl::string_view text, spdlog::memory_buf_t& out) {
    out.append(text.data(), text.data() + text.size());
  }

  static void FormatText(const spdlog::details::log_msg& line, const std::vector<LogField>& fields,
                         spdlog::memory_buf_t& out) {
    std::string text =
        absl::StrCat(Time(line), " ", Level(line), " ",
                     WithoutControls(absl::string_view(line.payload.data(), line.payload.size())));
    for (const LogField& field : fields) {
      absl::StrAppend(&text, " ", field.name, "=", TextValue(field));
    }
    Append(absl::StrCat(text, "\n"), out);
  }

  static void FormatJson(const spdlog::details::log_msg& line, const std::vector<LogField>& fields,
                         spdlog::memory_buf_t& out) {
    std::string object =
        absl::StrCat("{\"time\":", Json(Time(line)), ",\"level\":", Json(Level(line)),
                     ",\"message\":", Json(std::string(line.payload.data(), line.payload.size())));
    for (const LogField& field : fields) {
      absl::StrAppend(&object, ",", Json(field.name), ":", Json(ValueOf(field)));
    }
    Append(absl::StrCat(object, "}\n"), out);
  }

  const LogFormat format_;
};

}  // namespace

std::unique_ptr<spdlog::formatter> NewLogFormatter(LogFormat format) {
  return std::make_unique<LogFormatter>(format);
}

void StartLog(LogFormat format, spdlog::level::level_enum level) {
  auto logger =
      std::make_shared<spdlog::logger>("denoised", std::make_shared<QueuedSink>(STDERR_FILENO));
  logger->set_formatter(NewLogFormatter(format));
  logger->set_level(level);
  logger->set_error_handler([](const std::string&) {});
  spdlog::set_default_logger(std::move(logger));
}

void LogEvent(spdlog::level::level_enum level, absl::string_view message,
              const std::vector<LogField>& fields) {
  if (!spdlog::should_log(level)) return;
  fields_of_this_line = &fields;
  spdlog::log(level, spdlog::string_view_t(message.data(), message.size()));
  fields_of_this_line = nullptr;
}

}  // namespace denoise
