// The usual process_* metrics.
#ifndef DENOISE_SERVER_METRICS_PROCESS_COLLECTOR_H_
#define DENOISE_SERVER_METRICS_PROCESS_COLLECTOR_H_

#include <vector>

#include "prometheus/metric_family.h"

namespace denoise {

// Reads /proc/self at every scrape; what cannot be read is left out. Thread-safe.
class ProcessCollector {
 public:
  std::vector<prometheus::MetricFamily> Collect() const;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_PROCESS_COLLECTOR_H_
