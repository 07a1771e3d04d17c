// What a load is made of.
#ifndef DENOISE_CLIENT_CLI_LOAD_WORKLOAD_H_
#define DENOISE_CLIENT_CLI_LOAD_WORKLOAD_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/time/time.h"
#include "denoise/types.h"

namespace denoise::cli {

// A value, and how often it is taken beside the others of its list.
template <typename T>
struct Weighted {
  T value;
  double weight = 1;  // positive, finite
};

struct WorkloadOptions {
  SampleRequest request = {};                          // what all requests have in common
  std::vector<Weighted<uint32_t>> steps = {};          // at least one
  std::vector<Weighted<Sampler::Kind>> samplers = {};  // at least one
  std::vector<int64_t> classes = {};  // one a request, in turn; none: as in `request`
  double slow_share = 0;              // of the requests, 0 to 1, that are read slowly
  uint64_t seed = 0;
};

struct LoadRequest {
  SampleRequest request;
  bool slow = false;
};

// The same requests and gaps for the same options. Not thread-safe.
class Workload {
 public:
  explicit Workload(WorkloadOptions options);

  LoadRequest Next();

  // Between two arrivals of a Poisson process: exponential, with mean 1/rate seconds. Independent
  // of what the requests are.
  absl::Duration NextGap(double rate);

 private:
  const WorkloadOptions options_;
  std::mt19937_64 choices_;
  std::mt19937_64 arrivals_;
  uint64_t made_ = 0;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_WORKLOAD_H_
