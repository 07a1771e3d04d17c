// Tuning of one model: its variants measured as replicas would run them.
#ifndef DENOISE_SERVER_MODEL_TUNING_TUNER_H_
#define DENOISE_SERVER_MODEL_TUNING_TUNER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/examination/batch_sizes.h"
#include "server/model/tuning/tuning.h"
#include "server/model/tuning/variants.h"

namespace denoise {

struct TunerOptions {
  TuneFor purpose = TuneFor::kThroughput;
  double seconds = 0;
  std::vector<Plan> plans{};  // as PlansFor gives them
  BatchSizeOptions sizes{};
};

// The variants in all plans and a few batch sizes, compared (tuning.h); one is chosen. Empty where
// nothing could be measured. About options.seconds, and for a large model a few calls more. On any
// thread, while no engine runs. `info` with the examination's findings.
absl::StatusOr<std::vector<TuningResult>> Tune(const std::vector<Variant>& variants,
                                               const ModelInfo& info, const TunerOptions& options);

// The variant run by this plan, before anything is measured.
TuningResult WayOf(const Variant& variant, Plan plan);

// The variant that a way runs; null where it is none of these.
const Variant* VariantOf(const std::vector<Variant>& variants, const TuningResult& way);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_TUNING_TUNER_H_
