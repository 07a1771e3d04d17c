#include "client/cli/flags/flag_types.h"

#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/files.h"

namespace denoise::cli {

CLI::Option* AddDuration(CLI::App* app, const std::string& flag, absl::Duration* value,
                         const std::string& help, ZeroIs zero) {
  return app
      ->add_option_function<std::string>(
          flag,
          [flag, value, zero](const std::string& text) {
            double seconds = 0;
            absl::Duration parsed;
            if (absl::SimpleAtod(text, &seconds)) {
              parsed = absl::Seconds(seconds);
            } else if (!absl::ParseDuration(text, &parsed)) {
              parsed = -absl::InfiniteDuration();
            }
            if (parsed < absl::ZeroDuration() ||
                (parsed == absl::ZeroDuration() && zero == ZeroIs::kRefused)) {
              throw CLI::ValidationError(
                  flag, "'" + text + "' is no duration: write for example 500ms, 10s or 2m");
            }
            *value = parsed;
          },
          help)
      ->type_name("DURATION");
}

void AddSwitch(CLI::App* app, const std::string& name, std::optional<bool>* value,
               const std::string& help, const std::string& group) {
  auto* on = app->add_flag_callback(
      "--" + name, [value] { *value = true; }, help);
  on->group(group);
  app->add_flag_callback(
         "--no-" + name, [value] { *value = false; }, "Do not")
      ->excludes(on)
      ->group(group);
}

CLI::Option* AddNamedFiles(CLI::App* app, const std::string& flag, std::vector<NamedFile>* files,
                           const std::string& help) {
  return app
      ->add_option_function<std::vector<std::string>>(
          flag,
          [flag, files](const std::vector<std::string>& texts) {
            std::set<std::string> names;
            for (const auto& text : texts) {
              const size_t at = text.find('=');
              if (at == 0 || at == text.npos || !HasExtension(text, ".npy")) {
                throw CLI::ValidationError(flag, "'" + text + "' is not NAME=FILE.npy");
              }
              files->push_back({text.substr(0, at), text.substr(at + 1)});
              if (!names.insert(files->back().name).second) {
                throw CLI::ValidationError(flag, "'" + files->back().name + "' is given twice");
              }
            }
          },
          help)
      ->allow_extra_args(false)
      ->type_name("NAME=FILE.npy");
}

CLI::Validator Whole(int64_t min, int64_t max) {
  return CLI::Validator(
      [min, max](std::string& text) -> std::string {
        int64_t value = 0;
        if (absl::SimpleAtoi(text, &value) && value >= min && value <= max) return "";
        return absl::StrCat("'", text, "' is not a whole number of ", min, " to ", max);
      },
      "");
}

CLI::Validator FileNamed(std::vector<std::string> extensions) {
  const std::string endings = absl::StrJoin(extensions, " or ");
  return CLI::Validator(
      [extensions = std::move(extensions), endings](std::string& path) -> std::string {
        for (const auto& extension : extensions) {
          if (HasExtension(path, extension)) return "";
        }
        return "'" + path + "' must end with " + endings;
      },
      "");
}

}  // namespace denoise::cli
