// Choosing among the ways to run a model by measuring them: which there are, and which is best.
// Without LibTorch, so that tests can say what a way costs.
#ifndef DENOISE_SERVER_MODEL_TUNING_TUNING_H_
#define DENOISE_SERVER_MODEL_TUNING_TUNING_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/clock.h"
#include "server/engine/model_info.h"

namespace denoise {

enum class TuneFor : uint8_t {
  kThroughput,  // most rows a second of all replicas together
  kLatency,     // quickest call of one row, the other replicas being idle
};

// How the cores are shared out.
struct Plan {
  int replicas = 1;
  int threads = 1;  // of each

  friend bool operator==(const Plan& a, const Plan& b) {
    return a.replicas == b.replicas && a.threads == b.threads;
  }
};

// The plans that use all of `cores`, none with more threads than cores; `replicas` and `threads`
// where the operator has fixed them, whatever the cores, otherwise 0. First the one that is right
// where nothing is measured: for throughput replicas of one thread, for latency one replica with
// all threads.
std::vector<Plan> PlansFor(TuneFor purpose, int cores, int replicas, int threads);

// The batch sizes, of `allowed` (ascending, not empty), at which ways are compared, the most
// telling first: around the size at which the device is saturated, which differs between ways; for
// latency the smallest.
std::vector<int64_t> TrialSizes(TuneFor purpose, const std::vector<int64_t>& allowed,
                                int64_t saturation);

// What a slice of time showed.
struct Slice {
  double rows_per_second = 0;
  double call_seconds = 0;
};

// Runs a way for so many seconds, one call at least.
using RunSlice = std::function<absl::StatusOr<Slice>(const TuningResult& way, double seconds)>;

// Compares `ways` for `seconds`, which it exceeds by one slice at most, and answers the number of
// the best. The first is what is run where nothing is measured, and stays the choice unless another
// is better by 3%, so that what is equally good is chosen alike at every start; ways that differ
// from it in the batch size alone count as it.
//
// The ways take turns in short slices, so that what disturbs the machine meets them all alike, and
// count by the median of their slices. The worse half leaves after every round, so that the last
// ones get the most time. A way that fails leaves at once. Fills in what each measured and marks
// the chosen; ways that were not reached are taken out. -1, and no ways, where none could be
// measured.
int Compare(double seconds, const Clock& clock, const RunSlice& run,
            std::vector<TuningResult>* ways);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_TUNING_TUNING_H_
