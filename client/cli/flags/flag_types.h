// Kinds of flags, with messages that say what would be right.
#ifndef DENOISE_CLIENT_CLI_FLAGS_FLAG_TYPES_H_
#define DENOISE_CLIENT_CLI_FLAGS_FLAG_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "client/cli/flags/named_file.h"

namespace denoise::cli {

template <typename E>
using Choices = std::vector<std::pair<std::string, E>>;

// "ddpm|ddim"
template <typename E>
std::string NamesOf(const Choices<E>& choices) {
  std::string names;
  for (const auto& [name, value] : choices) names += (names.empty() ? "" : "|") + name;
  return names;
}

// What `text` stands for. Throws CLI::ValidationError where that is nothing.
template <typename E>
E Choose(const std::string& flag, const std::string& text, const Choices<E>& choices) {
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
  }
  throw CLI::ValidationError(flag, "'" + text + "' is none of " + NamesOf(choices));
}

// A flag for one of a few names.
template <typename E>
CLI::Option* AddChoice(CLI::App* app, const std::string& flag, E* value, const std::string& help,
                       Choices<E> choices) {
  const std::string names = NamesOf(choices);
  return app
      ->add_option_function<std::string>(
          flag,
          [flag, value, choices = std::move(choices)](const std::string& text) {
            *value = Choose(flag, text, choices);
          },
          help)
      ->type_name(names);
}

// A flag for "500ms", "10s", "2m", or seconds as a number; positive, or zero where that is allowed.
enum class ZeroIs { kRefused, kAllowed };
CLI::Option* AddDuration(CLI::App* app, const std::string& flag, absl::Duration* value,
                         const std::string& help, ZeroIs zero = ZeroIs::kRefused);

// A pair of flags, --NAME and --no-NAME, of which one may be given.
void AddSwitch(CLI::App* app, const std::string& name, std::optional<bool>* value,
               const std::string& help, const std::string& group);

// A flag for NAME=FILE.npy, which may be repeated with other names.
CLI::Option* AddNamedFiles(CLI::App* app, const std::string& flag, std::vector<NamedFile>* files,
                           const std::string& help);

// A whole number in min..max.
CLI::Validator Whole(int64_t min, int64_t max);

// A file's name with one of those endings (".png").
CLI::Validator FileNamed(std::vector<std::string> extensions);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_FLAGS_FLAG_TYPES_H_
