#include "server/model/batch_sizes.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/batch_inputs.h"
#include "server/model/torch_error.h"

namespace denoise {
namespace {

constexpr int64_t kSizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                              14, 16, 20, 24, 28, 32, 40, 48, 56, 64};
constexpr double kNearBest = 0.97;
// Sizes one after another that must be slower than the best before growing ends, and the size from
// which that counts: single sizes may be odd ones out.
constexpr int kSlowerInARow = 2;
constexpr int64_t kEndsFrom = 8;
constexpr double kMostSeconds = 1.2;

double RowsPerSecond(const BatchTime& time) { return time.rows / time.seconds; }

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The quickest of a few calls after one that warms: what a neighbour on the machine adds is none of
// the model's time.
absl::StatusOr<double> TimeCall(const Denoiser& denoiser, const BatchInputs& inputs, int64_t rows) {
  constexpr int kFewest = 3, kMost = 8;
  constexpr double kEnough = 0.02;  // seconds
  double best = std::numeric_limits<double>::infinity();
  const auto begin = std::chrono::steady_clock::now();
  for (int call = 0; call < kFewest || (call < kMost && SecondsSince(begin) < kEnough); ++call) {
    const auto start = std::chrono::steady_clock::now();
    if (const auto answer = inputs.Run(denoiser, rows); !answer.ok()) return answer.status();
    if (call > 0) best = std::min(best, SecondsSince(start));
  }
  return best;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> CandidateSizes(const BatchSizeOptions& options,
                                                    bool may_be_guided) {
  std::vector<int64_t> sizes = options.sizes;
  if (sizes.empty()) sizes.assign(std::begin(kSizes), std::end(kSizes));
  if (options.max_rows > 0 && options.sizes.empty()) sizes.push_back(options.max_rows);
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  if (sizes.front() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--batch-sizes: ", sizes.front(), " is not a number of rows from 1 on"));
  }
  if (options.max_rows > 0) {
    while (!sizes.empty() && sizes.back() > options.max_rows) sizes.pop_back();
    if (sizes.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--max-batch-rows: ", options.max_rows, " leaves none of --batch-sizes"));
    }
  }
  if (may_be_guided && sizes.back() < 2) {
    return absl::InvalidArgumentError(
        "--batch-sizes, --max-batch-rows: the largest batch must be of 2 rows at least, because a "
        "guided chain needs two in one call");
  }
  return sizes;
}

size_t KneeOf(const std::vector<BatchTime>& times, size_t least) {
  double best = 0;
  for (const BatchTime& time : times) best = std::max(best, RowsPerSecond(time));
  size_t knee = 0;
  while (RowsPerSecond(times[knee]) < kNearBest * best) ++knee;
  return std::min(std::max(knee + 1, least), times.size());
}

absl::StatusOr<std::vector<BatchTime>> MeasureBatchSizes(const Denoiser& denoiser,
                                                         const ModelInfo& info,
                                                         const BatchSizeOptions& options) try {
  const bool may_be_guided = info.null_class.has_value();
  const auto sizes = CandidateSizes(options, may_be_guided);
  if (!sizes.ok()) return sizes.status();
  const bool free = options.sizes.empty() && options.max_rows == 0;
  const size_t least = may_be_guided ? 2 : 1;

  const BatchInputs inputs(info.shape, denoiser.layout(), info.integer_time, sizes->back());
  const auto begin = std::chrono::steady_clock::now();
  std::vector<BatchTime> times;
  double best = 0;
  int slower = 0;
  for (const int64_t rows : *sizes) {
    if (free && times.size() >= least && SecondsSince(begin) > kMostSeconds) break;
    const auto seconds = TimeCall(denoiser, inputs, rows);
    if (!seconds.ok()) return seconds.status();
    times.push_back({rows, *seconds});
    const double speed = RowsPerSecond(times.back());
    slower = speed < kNearBest * best ? slower + 1 : 0;
    best = std::max(best, speed);
    if (free && rows > kEndsFrom && slower >= kSlowerInARow) break;
  }
  if (free) times.resize(KneeOf(times, least));
  return times;
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
