// Latencies as a picture.
#ifndef DENOISE_CLIENT_CLI_LOAD_HISTOGRAM_PICTURE_H_
#define DENOISE_CLIENT_CLI_LOAD_HISTOGRAM_PICTURE_H_

#include <string>
#include <vector>

#include "client/cli/load/latency_histogram.h"
#include "client/cli/pictures/picture.h"

namespace denoise::cli {

struct LabelledHistogram {
  std::string label;  // of digits, spaces and the letters of "all steps"; others stay blank
  const LatencyHistogram* latencies;
};

// One histogram below the other over a common logarithmic axis of time; each as high as its own
// most frequent latency. Dark on light grey. Empty ones show their label alone.
Picture DrawHistograms(const std::vector<LabelledHistogram>& histograms);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_HISTOGRAM_PICTURE_H_
