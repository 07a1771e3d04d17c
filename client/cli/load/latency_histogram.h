// Many latencies in little memory.
#ifndef DENOISE_CLIENT_CLI_LOAD_LATENCY_HISTOGRAM_H_
#define DENOISE_CLIENT_CLI_LOAD_LATENCY_HISTOGRAM_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"

namespace denoise::cli {

// Log-linear buckets, as in Gil Tene's HdrHistogram: each power of two of microseconds is cut into
// 128 equal ones. 34 KiB, whatever is recorded. Not thread-safe.
class LatencyHistogram {
 public:
  // Quantiles are at most this far above the true ones, relatively, and never below; besides the
  // microsecond that values are rounded down to.
  static constexpr double kPrecision = 1.0 / 128;
  // Longer ones count as this: about twelve days.
  static constexpr absl::Duration kMost = absl::Microseconds((int64_t{1} << 40) - 1);

  LatencyHistogram();

  // Negative ones count as zero.
  void Record(absl::Duration latency);

  uint64_t count() const { return count_; }
  // Exact; zero where nothing was recorded.
  absl::Duration min() const { return count_ > 0 ? min_ : absl::ZeroDuration(); }
  absl::Duration max() const { return max_; }
  absl::Duration mean() const;

  // The least recorded value, to the precision above, that at least `q` of all, 0 to 1, do not
  // exceed. Zero where nothing was recorded.
  absl::Duration Quantile(double q) const;

  // Every bucket that holds something, ascending: how many lie in [low, high).
  using Visitor = std::function<void(absl::Duration low, absl::Duration high, uint64_t count)>;
  void ForEach(const Visitor& visit) const;

 private:
  std::vector<uint64_t> counts_;  // [kBuckets]
  uint64_t count_ = 0;
  absl::Duration min_ = absl::InfiniteDuration();
  absl::Duration max_;
  absl::Duration sum_;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_LATENCY_HISTOGRAM_H_
