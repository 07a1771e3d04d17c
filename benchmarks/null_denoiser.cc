// What an engine does besides the denoiser call: the real engine and executor, with a denoiser that
// answers at once. Nothing is streamed, and there are always two batches of chains.
//
//   null_denoiser MODEL_DIR SAMPLER BATCH SECONDS
//
// SAMPLER: ddim | ddpm, which draws noise for each row.
// Of MODEL_DIR only model.json and scheduler_config.json matter. Prints the rows a second, and the
// microseconds of a tick.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ATen/ops/zeros.h"
#include "prometheus/histogram.h"
#include "server/diffusion/sampler.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/engine/event_stream.h"
#include "server/engine/request.h"
#include "server/engine/waiting_queue.h"
#include "server/metrics/metrics.h"
#include "server/model/chain/torch_executor.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/folder/model_files.h"
#include "server/model/runtime/torch_runtime.h"

namespace {

using namespace denoise;  // NOLINT: a program of one file

class NullDenoiser : public Denoiser {
 public:
  explicit NullDenoiser(at::IntArrayRef sizes) : Denoiser(Traits{}), answer_(at::zeros(sizes)) {}
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor&,
                                 absl::Span<const at::Tensor>) const override {
    return answer_.narrow(0, 0, x.size(0));
  }
  absl::string_view executor() const override { return "null"; }

 private:
  const at::Tensor answer_;
};

// Pushes a request again whenever one ends.
class Caller {
 public:
  Caller(std::shared_ptr<const ModelInfo> model, std::shared_ptr<const Table> table,
         WaitingQueue* queue, const Clock* clock)
      : model_(std::move(model)), table_(std::move(table)), queue_(queue), clock_(clock) {}

  void Push(uint32_t samples, const std::function<void()>& ended) {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->table = table_;
    request->num_samples = samples;
    request->seed = ++seed_;
    request->labels.assign(samples, 0);
    request->arrival = clock_->Now();
    EventStream::Options options;
    options.num_samples = samples;
    options.values_per_sample = model_->shape.values();
    options.arrival = request->arrival;
    request->stream = std::make_shared<EventStream>(options, clock_);
    request->stream->OnReady(ended);
    if (const auto place = queue_->TryPush(std::move(request)); !place.ok()) {
      std::cerr << place.status() << "\n";
      std::exit(1);
    }
  }

 private:
  const std::shared_ptr<const ModelInfo> model_;
  const std::shared_ptr<const Table> table_;
  WaitingQueue* const queue_;
  const Clock* const clock_;
  uint64_t seed_ = 0;
};

int Run(const std::string& folder, SamplerKind sampler, int64_t batch,
        std::chrono::duration<double> duration) {
  auto files = LoadModelFolder({folder, "", 1});
  if (!files.ok()) {
    std::cerr << files.status() << "\n";
    return 1;
  }
  ModelInfo info = std::move(files->info);
  info.batch_sizes = {batch};
  info.denoiser_seconds = {0};
  SamplerOptions options;
  options.kind = sampler;
  options.steps = 50;
  auto table = MakeTable(info.config, info.schedule, false, options);
  if (!table.ok()) {
    std::cerr << table.status() << "\n";
    return 1;
  }
  const auto model = std::make_shared<const ModelInfo>(std::move(info));
  const SampleShape shape = model->shape;

  SystemClock clock;
  Metrics metrics;
  WaitingQueue queue(WaitingQueue::Options{});
  Engine engine({.device = "null"}, &queue, &metrics, &clock);
  const absl::Status added = engine.AddModel([&]() -> absl::StatusOr<std::unique_ptr<Executor>> {
    PrepareEngineThread(1);
    return TorchExecutor::Make(model,
                               std::make_shared<NullDenoiser>(at::IntArrayRef{
                                   batch, shape.channels, shape.height, shape.width}),
                               /*decoder=*/nullptr);
  });
  if (!added.ok()) {
    std::cerr << added << "\n";
    return 1;
  }

  Caller caller(model, std::make_shared<const Table>(*std::move(table)), &queue, &clock);
  std::atomic<bool> stop{false};
  std::function<void()> again = [&] {
    if (stop) return;
    caller.Push(static_cast<uint32_t>(batch), again);
    engine.Wake();
  };
  // Twice: their ends then do not leave the engine without work. All later ones are pushed by the
  // engine's thread, so that no other takes its core.
  for (int i = 0; i < 2; ++i) again();
  const EngineMetrics gauges = metrics.ForEngine("null");
  const auto rows = [&] {
    const auto sums = gauges.batch_rows->Collect().histogram;
    return std::pair(sums.sample_sum, static_cast<double>(sums.sample_count));
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto before = rows();
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(duration);
  const auto after = rows();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  stop = true;
  engine.Stop();
  std::cout << (after.first - before.first) / took.count() << " "
            << 1e6 * took.count() / (after.second - before.second) << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string sampler = argc == 5 ? argv[2] : "";
  if (sampler != "ddim" && sampler != "ddpm") {
    std::cerr << "usage: null_denoiser MODEL_DIR ddim|ddpm BATCH SECONDS\n";
    return 64;
  }
  denoise::PrepareProcess();
  return Run(argv[1], sampler == "ddim" ? denoise::SamplerKind::kDdim : denoise::SamplerKind::kDdpm,
             std::atoll(argv[3]), std::chrono::duration<double>(std::atof(argv[4])));
}
