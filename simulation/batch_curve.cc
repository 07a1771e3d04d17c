#include "simulation/batch_curve.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace denoise {

std::chrono::nanoseconds BatchCurve::TimeFor(int64_t rows) const {
  const auto it = std::lower_bound(batch_sizes.begin(), batch_sizes.end(), rows);
  return times[it - batch_sizes.begin()];
}

double BatchCurve::RowsPerSecond() const {
  double best = 0;
  for (size_t i = 0; i < batch_sizes.size(); ++i) {
    best = std::max(best, batch_sizes[i] / std::chrono::duration<double>(times[i]).count());
  }
  return best;
}

absl::StatusOr<BatchCurve> ReadBatchCurve(const std::string& path) {
  const auto bad = [&path](const char* what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", what, ": record one by python -m simulation.scaling record"));
  };
  std::ifstream file(path);
  if (!file) return bad("cannot be read");
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json sizes = json.value("batch_sizes", nlohmann::json());
  const nlohmann::json seconds = json.value("denoiser_seconds", nlohmann::json());
  if (!sizes.is_array() || !seconds.is_array() || sizes.empty() || sizes.size() != seconds.size()) {
    return bad("batch_sizes and denoiser_seconds must be lists of one length");
  }
  BatchCurve curve;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t above = curve.batch_sizes.empty() ? 0 : curve.batch_sizes.back();
    if (!sizes[i].is_number_integer() || sizes[i].get<int64_t>() <= above) {
      return bad("batch_sizes must be whole numbers from 1 on that ascend");
    }
    if (!seconds[i].is_number() || !(seconds[i].get<double>() > 0)) {
      return bad("denoiser_seconds must be numbers above 0");
    }
    curve.batch_sizes.push_back(sizes[i].get<int64_t>());
    curve.times.push_back(std::chrono::nanoseconds(
        std::max<int64_t>(1, static_cast<int64_t>(1e9 * seconds[i].get<double>()))));
  }
  return curve;
}

}  // namespace denoise
