#include "server/model/tuning/tuner.h"

#include <algorithm>
#include <string>

#include "server/engine/clock.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/model/tuning/trial.h"

namespace denoise {

TuningResult WayOf(const Variant& variant, Plan plan) {
  const Denoiser& denoiser = *variant.denoiser;
  TuningResult way;
  way.executor = std::string(denoiser.executor());
  way.layout = LayoutName(denoiser.layout());
  way.precision = PrecisionName(denoiser.precision());
  way.replicas = plan.replicas;
  way.threads = plan.threads;
  way.relative_error = variant.relative_error;
  return way;
}

const Variant* VariantOf(const std::vector<Variant>& variants, const TuningResult& way) {
  for (const Variant& variant : variants) {
    const TuningResult own = WayOf(variant, {});
    if (own.executor == way.executor && own.layout == way.layout &&
        own.precision == way.precision) {
      return &variant;
    }
  }
  return nullptr;
}

absl::StatusOr<std::vector<TuningResult>> Tune(const std::vector<Variant>& variants,
                                               const ModelInfo& info, const TunerOptions& options) {
  const SystemClock clock;
  const SteadyTime begin = clock.Now();
  // Of accelerators, one a replica, the first is measured and stands for all.
  const bool accelerator = !variants[0].denoiser->device().is_cpu();
  const absl::StatusOr<std::vector<int64_t>> allowed =
      CandidateSizes(options.sizes, MayBeGuided(info), accelerator);
  if (!allowed.ok()) return allowed.status();
  const bool latency = options.purpose == TuneFor::kLatency;
  int64_t saturation = 1;
  if (!latency) {
    const Denoiser& first = *variants[0].denoiser;
    const absl::Status status = OnOwnThread(options.plans[0].threads, [&] {
      const auto found = FindSaturation(first, info, std::min(allowed->back(), first.max_rows()),
                                        options.seconds / 6);
      if (found.ok()) saturation = *found;
      return found.status();
    });
    if (!status.ok()) return status;
  }

  // The most telling size of all of them first, in case that time is short.
  std::vector<TuningResult> ways;
  for (const int64_t size : TrialSizes(options.purpose, *allowed, saturation)) {
    for (const Plan& plan : options.plans) {
      for (const Variant& variant : variants) {
        if (size > variant.denoiser->max_rows()) continue;
        ways.push_back(WayOf(variant, plan));
        ways.back().batch_size = size;
      }
    }
  }
  const RunSlice run = [&](const TuningResult& way, double seconds) {
    return RunTrial(*VariantOf(variants, way)->denoiser, info,
                    {latency || accelerator ? 1 : way.replicas, way.threads}, way.batch_size,
                    seconds);
  };
  Compare(options.seconds - SecondsBetween(begin, clock.Now()), clock, run, &ways);
  return ways;
}

}  // namespace denoise
