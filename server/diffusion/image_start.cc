#include "server/diffusion/image_start.h"

#include <charconv>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

constexpr char kField[] = "image_to_image.strength";

// The shortest decimal number that is `value` as float32.
double AsWritten(float value) {
  char digits[64];
  const char* end = std::to_chars(std::begin(digits), std::end(digits), value).ptr;
  double written = value;
  std::from_chars(std::begin(digits), end, written);
  return written;
}

}  // namespace

absl::StatusOr<int64_t> StepsOfStrength(int64_t steps, double strength) {
  // Written so that NaN fails.
  if (!(strength > 0 && strength <= 1)) {
    return FieldError(kField, absl::StrCat(strength, " is not above 0 and at most 1"));
  }
  const double written = AsWritten(static_cast<float>(strength));
  const auto run = static_cast<int64_t>(std::floor(static_cast<double>(steps) * written));
  if (run < 1) {
    return FieldError(
        kField, absl::StrCat(written, " of ", steps, " steps is less than one step; give at least ",
                             1 / static_cast<double>(steps), ", or more steps"));
  }
  return run;
}

void StartFromImage(Table* table) {
  table->image_scale = std::sqrt(table->initial_alpha_bar);
  table->initial_scale = table->initial_sigma;
}

}  // namespace denoise
