#include "server/model/examination/batch_sizes.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <ctime>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "server/model/denoiser/batch_inputs.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/examination/warm_up.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

constexpr int64_t kSizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                              14, 16, 20, 24, 28, 32, 40, 48, 56, 64};
constexpr double kNearBest = 0.97;
constexpr double kAtKnee = 0.98;
// Calls of so many rows are run in any case where they take no longer than this.
constexpr int64_t kCommonRows = 8;
constexpr double kQuickCall = 0.05;
constexpr double kMostSeconds = 0.8;
// An accelerator is large, and cuDNN tries its kernels at the first call of each size.
constexpr int64_t kAcceleratorSizes[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256};
constexpr double kMostAcceleratorSeconds = 10;
// Calls that are carried wait for the ticks of others in between.
constexpr double kCarriedShare = 5;

// For time as a call takes it. With one thread of a CPU its CPU time, so that neighbours on the
// machine, who would pass for a slow batch size, are left out.
clockid_t CallClock(const Denoiser& denoiser) {
  const bool alone = denoiser.device().is_cpu() && at::get_num_threads() == 1;
  return alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
}

double Now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Calls `calls` times, one at a time, and lowers `time->seconds` to the quickest.
absl::Status TimeCalls(const Denoiser& denoiser, const BatchInputs& inputs, int calls,
                       const Carrier& carrier, BatchTime* time) {
  for (int call = 0; call < calls; ++call) {
    const absl::Status status = Carry(carrier, [&] {
      const clockid_t clock = CallClock(denoiser);
      const double begin = Now(clock);
      const absl::Status called = inputs.Run(denoiser, time->rows).status();
      if (called.ok()) time->seconds = std::min(time->seconds, Now(clock) - begin);
      return called;
    });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// What doubling from 1 to `most` found.
struct Doubling {
  int64_t saturation = 1;  // past it doubling gains next to nothing
  int64_t tried = 1;       // the last size that was timed
};

// Ends, from `least` rows on, once it has taken `seconds` by the given clock.
absl::StatusOr<Doubling> Double(const Denoiser& denoiser, const BatchInputs& inputs, int64_t least,
                                int64_t most, const Carrier& carrier, clockid_t clock,
                                double seconds) {
  const double begin = Now(clock);
  double best = 0;
  Doubling doubling;
  for (int64_t rows = 1; rows <= most; rows *= 2) {
    if (rows > least && Now(clock) - begin > seconds) break;
    BatchTime time = {rows};
    // The first call of a size warms, and is never the quickest.
    const absl::Status status = TimeCalls(denoiser, inputs, 3, carrier, &time);
    if (absl::IsResourceExhausted(status) && rows > least) break;  // what fits is enough
    if (!status.ok()) return status;
    doubling.tried = rows;
    const double speed = time.rows_per_second();
    const bool gains = speed * kNearBest > best;
    if (gains) doubling.saturation = rows;
    // Not before, because a single size may be an odd one out.
    if (!gains && rows >= kSurelyMeasured) break;
    best = std::max(best, speed);
  }
  return doubling;
}

// Whether the sizes are of one group: up to the same power of two.
bool SameGroup(int64_t a, int64_t b) {
  return std::bit_ceil(static_cast<uint64_t>(a)) == std::bit_ceil(static_cast<uint64_t>(b));
}

}  // namespace

bool MayBeGuided(const ModelInfo& info) {
  return info.null_class.has_value() ||
         std::any_of(info.inputs.begin(), info.inputs.end(), [](const ModelInput& input) {
           return input.kind == ModelInput::Kind::kCondition;
         });
}

absl::StatusOr<std::vector<int64_t>> CandidateSizes(const BatchSizeOptions& options,
                                                    bool may_be_guided, bool accelerator) {
  std::vector<int64_t> sizes = options.sizes;
  if (sizes.empty() && accelerator) {
    sizes.assign(std::begin(kAcceleratorSizes), std::end(kAcceleratorSizes));
  } else if (sizes.empty()) {
    sizes.assign(std::begin(kSizes), std::end(kSizes));
  }
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
  for (const BatchTime& time : times) best = std::max(best, time.rows_per_second());
  size_t knee = 0;
  while (times[knee].rows_per_second() < kAtKnee * best) ++knee;
  for (size_t i = knee + 1; i < times.size(); ++i) {
    const bool quick = times[i].rows <= kCommonRows && times[i].seconds <= kQuickCall;
    if (quick || SameGroup(times[knee].rows, times[i].rows)) knee = i;
  }
  return std::min(std::max(knee + 1, least), times.size());
}

size_t LeastFor(const std::vector<BatchTime>& times, bool may_be_guided) {
  if (!may_be_guided) return 1;
  const auto two = std::find_if(times.begin(), times.end(),
                                [](const BatchTime& time) { return time.rows >= 2; });
  return two - times.begin() + 1;
}

absl::StatusOr<int64_t> FindSaturation(const Denoiser& denoiser, const ModelInfo& info,
                                       int64_t most, double seconds) try {
  BatchInputs inputs(info, denoiser, info.integer_time, most);
  if (absl::Status status = FillAlike(info, most, &inputs); !status.ok()) return status;
  const absl::StatusOr<Doubling> doubling =
      Double(denoiser, inputs, 1, most, /*carrier=*/nullptr, CLOCK_MONOTONIC, seconds);
  if (!doubling.ok()) return doubling.status();
  return doubling->saturation;
} catch (...) {
  return CurrentExceptionStatus();
}

absl::StatusOr<std::vector<BatchTime>> MeasureBatchSizes(const Denoiser& denoiser,
                                                         const ModelInfo& info,
                                                         const BatchSizeOptions& options) try {
  const bool may_be_guided = MayBeGuided(info);
  absl::StatusOr<std::vector<int64_t>> sizes =
      CandidateSizes(options, may_be_guided, !denoiser.device().is_cpu());
  if (!sizes.ok()) return sizes.status();
  if (sizes->back() > denoiser.max_rows()) {
    if (!options.free()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--batch-sizes, --max-batch-rows: ", sizes->back(), " is more than the ",
                       denoiser.max_rows(), " rows that ", std::string(denoiser.file()),
                       " was compiled for: ask for fewer, or export it with more --max-rows"));
    }
    while (sizes->back() > denoiser.max_rows()) sizes->pop_back();
  }

  const int64_t all = sizes->back();
  BatchInputs inputs(info, denoiser, info.integer_time, all);
  if (absl::Status status = FillAlike(info, all, &inputs); !status.ok()) return status;
  int64_t most = all;
  if (options.free()) {
    double seconds = denoiser.device().is_cpu() ? kMostSeconds : kMostAcceleratorSeconds;
    if (options.carrier) seconds *= kCarriedShare;
    const absl::StatusOr<Doubling> doubling =
        Double(denoiser, inputs, may_be_guided ? 2 : 1, most, options.carrier,
               options.carrier ? CLOCK_MONOTONIC : CallClock(denoiser), seconds);
    if (!doubling.ok()) return doubling.status();
    most = std::min(doubling->tried, std::max(doubling->saturation, kSurelyMeasured));
  }
  std::vector<BatchTime> times;
  for (const int64_t size : *sizes) {
    if (size <= most) times.push_back({size});
  }
  // In two rounds, because what disturbs a measurement lasts for a while.
  for (int round = 0; round < 2; ++round) {
    for (BatchTime& time : times) {
      absl::Status status = TimeCalls(denoiser, inputs, 2, options.carrier, &time);
      if (!status.ok()) return status;
    }
  }
  return times;
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
