#include "client/cli/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace denoise::cli {
namespace {

constexpr int kBits = 7;  // of a value are kept, besides the leading one
constexpr uint64_t kSub = uint64_t{1} << kBits;
constexpr int kMostBits = 40;
// Values below kSub have a bucket each; above, every power of two has kSub.
constexpr size_t kBuckets = kSub * (kMostBits - kBits + 1);

size_t BucketOf(uint64_t micros) {
  if (micros < kSub) return micros;
  const int shift = std::bit_width(micros) - 1 - kBits;
  return kSub * shift + (micros >> shift);
}

// The least value of a bucket; that of the next one is the end of it.
uint64_t LowOf(size_t bucket) {
  if (bucket < kSub) return bucket;
  const size_t shift = bucket / kSub - 1;
  return (kSub + bucket % kSub) << shift;
}

absl::Duration Micros(uint64_t micros) { return absl::Microseconds(static_cast<int64_t>(micros)); }

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kBuckets) {}

void LatencyHistogram::Record(absl::Duration latency) {
  latency = std::clamp(absl::Trunc(latency, absl::Microseconds(1)), absl::ZeroDuration(), kMost);
  ++counts_[BucketOf(static_cast<uint64_t>(absl::ToInt64Microseconds(latency)))];
  ++count_;
  min_ = std::min(min_, latency);
  max_ = std::max(max_, latency);
  sum_ += latency;
}

absl::Duration LatencyHistogram::mean() const {
  return count_ == 0 ? absl::ZeroDuration() : sum_ / static_cast<double>(count_);
}

absl::Duration LatencyHistogram::Quantile(double q) const {
  const auto rank =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += counts_[bucket];
    // The bucket's greatest value, which is never below what was recorded.
    if (seen >= rank) return std::min(max_, Micros(LowOf(bucket + 1) - 1));
  }
  return max_;
}

void LatencyHistogram::ForEach(const Visitor& visit) const {
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    if (counts_[bucket] == 0) continue;
    visit(Micros(LowOf(bucket)), Micros(LowOf(bucket + 1)), counts_[bucket]);
  }
}

}  // namespace denoise::cli
