#include "server/rpc/inference/infer_statistics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"

namespace denoise {

InferStatistics::Key InferStatistics::KeyOf(const InferModel& model) {
  return {model.info->name, model.info->version, model.kind};
}

void InferStatistics::Set(const Sum& sum, inference::StatisticDuration* message) {
  message->set_count(sum.count);
  message->set_ns(static_cast<uint64_t>(sum.seconds * 1e9));
}

void InferStatistics::Succeeded(const InferModel& model, uint32_t num_samples,
                                const InferTimes& times, absl::Time now) {
  MutexLock lock(mutex_);
  Sums& sums = sums_[KeyOf(model)];
  sums.success.Add(times.total_seconds);
  sums.queue.Add(times.queue_seconds);
  sums.input.Add(times.input_seconds);
  sums.infer.Add(times.infer_seconds);
  sums.output.Add(times.output_seconds);
  sums.samples += num_samples;
  sums.last = now;
}

void InferStatistics::Failed(const InferModel& model, double seconds) {
  MutexLock lock(mutex_);
  sums_[KeyOf(model)].fail.Add(seconds);
}

void InferStatistics::Describe(const InferModel& model, inference::ModelStatistics* message) const {
  Sums sums;
  {
    MutexLock lock(mutex_);
    if (const auto it = sums_.find(KeyOf(model)); it != sums_.end()) sums = it->second;
  }
  message->set_name(model.name());
  message->set_version(absl::StrCat(model.info->version));
  message->set_last_inference(static_cast<uint64_t>(absl::ToUnixMillis(sums.last)));
  if (model.kind == InferKind::kDenoiser) {
    const ModelMetrics metrics = metrics_->ForModel(model.info->name);
    message->set_inference_count(static_cast<uint64_t>(metrics.rows_total->Value()));
    message->set_execution_count(static_cast<uint64_t>(metrics.batches_total->Value()));
  } else {
    message->set_inference_count(sums.samples);
    message->set_execution_count(sums.success.count);
  }
  inference::InferStatistics* stats = message->mutable_inference_stats();
  Set(sums.success, stats->mutable_success());
  Set(sums.fail, stats->mutable_fail());
  Set(sums.queue, stats->mutable_queue());
  Set(sums.input, stats->mutable_compute_input());
  Set(sums.infer, stats->mutable_compute_infer());
  Set(sums.output, stats->mutable_compute_output());
}

}  // namespace denoise
