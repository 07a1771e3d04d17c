// The program's output: results on stdout, everything else on stderr.
#ifndef DENOISE_CLIENT_CLI_CONSOLE_H_
#define DENOISE_CLIENT_CLI_CONSOLE_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "client/cli/pictures/picture.h"
#include "nlohmann/json.hpp"

namespace denoise::cli {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool true_color = false;
  int columns = 80;

  bool json = false;   // stdout is for one JSON document
  bool quiet = false;  // no progress

  // The real one.
  static Console OfProcess();

  // For people; nothing with --json.
  void Say(const std::string& line);
  // The document of --json.
  void Write(const nlohmann::json& document);
  // Prints an error with its details, and returns `exit_code`.
  int Fail(const absl::Status& status, int exit_code);
  // The exit code is that of the status.
  int Fail(const absl::Status& status);
  // What was asked for has been cancelled by `signal`.
  int Interrupted(int signal);

  bool can_draw() const { return out_is_terminal && true_color && !json && !quiet; }
};

// `picture` in half blocks of 24-bit colour, each two pixels high.
std::string HalfBlocks(const Picture& picture);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_CONSOLE_H_
