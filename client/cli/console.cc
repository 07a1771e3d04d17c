#include "client/cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_codes.h"
#include "denoise/error_details.h"

namespace denoise::cli {
namespace {

bool HasTrueColor() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* color = std::getenv("COLORTERM");
  if (color == nullptr || (no_color != nullptr && *no_color != '\0')) return false;
  const std::string_view value = color;
  return value == "truecolor" || value == "24bit";
}

int ColumnsOf(int fd) {
  winsize size = {};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

nlohmann::json ErrorJson(const absl::Status& status) {
  const auto details = DetailsOf(status);
  nlohmann::json error = {{"code", absl::StatusCodeToString(status.code())},
                          {"message", std::string(status.message())}};
  if (!details.reason.empty()) error["reason"] = details.reason;
  if (details.retry_delay) {
    error["retry_delay_seconds"] = absl::ToDoubleSeconds(*details.retry_delay);
  }
  for (const auto& [field, description] : details.field_violations) {
    error["field_violations"].push_back({{"field", field}, {"description", description}});
  }
  return {{"error", error}};
}

// What a server says must not steer the terminal, nor break the JSON.
std::string Printable(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    clean += static_cast<unsigned char>(c) < ' ' && c != '\n' ? '?' : c == '\x7f' ? '?' : c;
  }
  return clean;
}

}  // namespace

Console Console::OfProcess() {
  return {.out = std::cout,
          .err = std::cerr,
          .out_is_terminal = isatty(STDOUT_FILENO) != 0,
          .err_is_terminal = isatty(STDERR_FILENO) != 0,
          .true_color = HasTrueColor(),
          .columns = ColumnsOf(isatty(STDERR_FILENO) ? STDERR_FILENO : STDOUT_FILENO)};
}

void Console::Say(const std::string& line) {
  if (!json) out << Printable(line) << std::endl;
}

void Console::Write(const nlohmann::json& document) {
  out << document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

int Console::Fail(const absl::Status& status, int exit_code) {
  const auto details = DetailsOf(status);
  const std::string message(status.message());
  err << "denoise: "
      << Printable(message.empty() ? absl::StatusCodeToString(status.code()) : message) << "\n";
  for (const auto& [field, description] : details.field_violations) {
    // Where the message says it already, once is enough.
    if (message.find(description) != std::string::npos) continue;
    err << Printable(absl::StrCat("  ", field, ": ", description)) << "\n";
  }
  if (absl::IsDeadlineExceeded(status)) err << "  allow it more time by --timeout\n";
  if (details.retry_delay) {
    err << "  try again in " << absl::FormatDuration(*details.retry_delay) << "\n";
  }
  err.flush();
  if (json) Write(ErrorJson(status));
  return exit_code;
}

int Console::Fail(const absl::Status& status) { return Fail(status, ExitCodeOf(status)); }

int Console::Interrupted(int signal) {
  return Fail(absl::CancelledError("cancelled, on the server too"), 128 + signal);
}

std::string HalfBlocks(const Picture& picture) {
  std::string text;
  const auto pixel = [&picture](int x, int y) {
    const uint8_t* p =
        &picture.pixels[(static_cast<size_t>(y) * picture.width + x) * picture.channels];
    const size_t step = picture.channels == 3 ? 1 : 0;
    return absl::StrCat(p[0], ";", p[step], ";", p[2 * step]);
  };
  for (int y = 0; y < picture.height; y += 2) {
    for (int x = 0; x < picture.width; ++x) {
      absl::StrAppend(&text, "\x1b[38;2;", pixel(x, y), "m");
      if (y + 1 < picture.height) absl::StrAppend(&text, "\x1b[48;2;", pixel(x, y + 1), "m");
      text += "▀";
    }
    text += "\x1b[0m\n";
  }
  return text;
}

}  // namespace denoise::cli
