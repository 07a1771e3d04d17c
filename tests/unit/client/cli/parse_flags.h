// A command's flags as its command line gives them.
#ifndef DENOISE_TESTS_UNIT_CLIENT_CLI_PARSE_FLAGS_H_
#define DENOISE_TESTS_UNIT_CLIENT_CLI_PARSE_FLAGS_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"

namespace denoise::cli {

// The message that those arguments are refused with, by flags that `add` adds; empty if they
// aren't.
template <typename Flags>
std::string ParseFlags(void (*add)(CLI::App*, Flags*), Flags* flags,
                       std::vector<std::string> arguments) {
  CLI::App app;
  add(&app, flags);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

}  // namespace denoise::cli

#endif  // DENOISE_TESTS_UNIT_CLIENT_CLI_PARSE_FLAGS_H_
