#include "client/viewer/figures.h"

#include <cmath>
#include <map>
#include <sstream>

#include "absl/strings/numbers.h"

namespace denoise::viewer {

Figures ParseFigures(const std::string& text) {
  Figures figures;
  const std::map<std::string, double*> wanted = {
      {"denoise_requests_waiting", &figures.requests_waiting},
      {"denoise_chains_active", &figures.chains_active},
      {"denoise_rows_total", &figures.rows_total},
      {"denoise_batch_rows_sum", &figures.batch_rows_sum},
      {"denoise_batch_rows_count", &figures.batch_rows_count}};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto found = wanted.find(line.substr(0, line.find_first_of("{ ")));
    const size_t space = line.rfind(' ');
    double value = 0;
    if (found == wanted.end() || space == std::string::npos ||
        !absl::SimpleAtod(line.substr(space + 1), &value) || !std::isfinite(value)) {
      continue;
    }
    *found->second += value;
  }
  return figures;
}

}  // namespace denoise::viewer
