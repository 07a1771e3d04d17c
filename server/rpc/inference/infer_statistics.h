// What inferences by the Open Inference Protocol have taken, for ModelStatistics.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_STATISTICS_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_STATISTICS_H_

#include <cstdint>
#include <map>
#include <tuple>

#include "absl/time/time.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/mutex.h"
#include "server/metrics/metrics.h"
#include "server/rpc/inference/infer_model.h"

namespace denoise {

// Of an inference that succeeded.
struct InferTimes {
  double total_seconds = 0;
  double queue_seconds = 0;
  double input_seconds = 0;
  double infer_seconds = 0;
  double output_seconds = 0;
};

// Thread-safe.
class InferStatistics {
 public:
  // `metrics`, which outlives it, counts the denoiser's rows and calls for all callers.
  explicit InferStatistics(Metrics* metrics) : metrics_(metrics) {}

  void Succeeded(const InferModel& model, uint32_t num_samples, const InferTimes& times,
                 absl::Time now);
  void Failed(const InferModel& model, double seconds);

  void Describe(const InferModel& model, inference::ModelStatistics* message) const;

 private:
  struct Sum {
    uint64_t count = 0;
    double seconds = 0;
    void Add(double more) {
      ++count;
      seconds += more;
    }
  };
  struct Sums {
    Sum success, fail, queue, input, infer, output;
    uint64_t samples = 0;
    absl::Time last = absl::UnixEpoch();
  };
  using Key = std::tuple<std::string, int64_t, InferKind>;
  static Key KeyOf(const InferModel& model);
  static void Set(const Sum& sum, inference::StatisticDuration* message);

  Metrics* const metrics_;
  mutable Mutex mutex_;
  std::map<Key, Sums> sums_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_STATISTICS_H_
