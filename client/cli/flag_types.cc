#include "client/cli/flag_types.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/files.h"

namespace denoise::cli {

CLI::Option* AddDuration(CLI::App* app, const std::string& flag, absl::Duration* value,
                         const std::string& help) {
  return app
      ->add_option_function<std::string>(
          flag,
          [flag, value](const std::string& text) {
            double seconds = 0;
            absl::Duration parsed;
            if (absl::SimpleAtod(text, &seconds)) {
              parsed = absl::Seconds(seconds);
            } else if (!absl::ParseDuration(text, &parsed)) {
              parsed = absl::ZeroDuration();
            }
            if (parsed <= absl::ZeroDuration()) {
              throw CLI::ValidationError(
                  flag, "'" + text + "' is no duration: write for example 500ms, 10s or 2m");
            }
            *value = parsed;
          },
          help)
      ->type_name("DURATION");
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
