#include "server/model/batch_sizes.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "server/model/batch_inputs.h"
#include "server/model/denoiser.h"
#include "server/model/torch_error.h"

namespace denoise {
namespace {

constexpr int64_t kSizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                              14, 16, 20, 24, 28, 32, 40, 48, 56, 64};
constexpr double kNearBest = 0.97;
// Doubling goes on to this size at least, because a single size may be an odd one out, unless it
// takes too long.
constexpr int64_t kDoubleTo = 16;
constexpr double kMostSeconds = 0.8;

double RowsPerSecond(const BatchTime& time) { return time.rows / time.seconds; }

// Time as a call takes it. With one thread its CPU time, so that neighbours on the machine, who
// would pass for a slow batch size, are left out.
double Now() {
  timespec time;
  clock_gettime(at::get_num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Calls `calls` times and lowers `time->seconds` to the quickest.
absl::Status TimeCalls(const Denoiser& denoiser, const BatchInputs& inputs, int calls,
                       BatchTime* time) {
  for (int call = 0; call < calls; ++call) {
    const double begin = Now();
    if (const auto answer = inputs.Run(denoiser, time->rows); !answer.ok()) return answer.status();
    time->seconds = std::min(time->seconds, Now() - begin);
  }
  return absl::OkStatus();
}

// The first size, of 1, 2, 4, … up to `most`, after which doubling gains next to nothing.
absl::StatusOr<int64_t> Saturation(const Denoiser& denoiser, const BatchInputs& inputs,
                                   int64_t least, int64_t most) {
  const double begin = Now();
  double best = 0;
  int64_t saturation = 1;
  for (int64_t rows = 1; rows <= most; rows *= 2) {
    if (rows > least && Now() - begin > kMostSeconds) break;
    BatchTime time = {rows};
    // The first call of a size warms, and is never the quickest.
    if (absl::Status status = TimeCalls(denoiser, inputs, 3, &time); !status.ok()) return status;
    const double speed = RowsPerSecond(time);
    if (speed * kNearBest > best) {
      saturation = rows;
    } else if (rows >= kDoubleTo) {
      break;
    }
    best = std::max(best, speed);
  }
  return std::max(saturation, least);
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
  const int64_t least = may_be_guided ? 2 : 1;

  const BatchInputs inputs(info.shape, denoiser.layout(), info.integer_time, sizes->back());
  int64_t most = sizes->back();
  if (free) {
    const absl::StatusOr<int64_t> saturation = Saturation(denoiser, inputs, least, most);
    if (!saturation.ok()) return saturation.status();
    most = *saturation;
  }
  std::vector<BatchTime> times;
  for (const int64_t rows : *sizes) {
    if (rows <= most) times.push_back({rows});
  }
  // In two rounds, because what disturbs a measurement lasts for a while.
  for (int round = 0; round < 2; ++round) {
    for (BatchTime& time : times) {
      if (absl::Status status = TimeCalls(denoiser, inputs, 2, &time); !status.ok()) return status;
    }
  }
  if (free) times.resize(KneeOf(times, least));
  return times;
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
