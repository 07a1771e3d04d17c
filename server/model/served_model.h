// A model from its folder to executors that run it: all that the server needs to know of this
// layer. Without LibTorch's headers.
#ifndef DENOISE_SERVER_MODEL_SERVED_MODEL_H_
#define DENOISE_SERVER_MODEL_SERVED_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/executor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/carrier.h"
#include "server/model/examination/batch_time.h"
#include "server/model/examination/examination_report.h"
#include "server/model/folder/model_files.h"
#include "server/model/tuning/tuning.h"
#include "server/model/tuning/tuning_cache.h"

namespace denoise {

// The operator's wishes.
struct LoadOptions {
  // What is "auto" is tuned, and where nothing is tuned TorchScript where there is a denoiser.pt,
  // channels_last where the model has convolutions and answers the same but for rounding; on an
  // accelerator only in 16 bits, which its matrix units take in that layout.
  std::string executor = "auto";       // or "torchscript", "aotinductor"
  std::string layout = "auto";         // or "contiguous", "channels_last"
  std::string precision = "float32";   // the weights' own; or "bfloat16"
  int64_t max_batch_rows = 0;          // 0: where the device is saturated
  std::vector<int64_t> batch_sizes{};  // empty: chosen by measuring
  // Only sizes are run that agree bit for bit, so that a request's bits are the same alone and in
  // any batch, on any replica. Nothing but those sizes is then chosen by a clock, so that equal
  // servers choose equally: no tuning.
  bool batch_invariant = false;
  // Whether the report is to say which sizes agree, also where that decides nothing.
  bool report_agreement = false;
  // How many engines there are, and with how many threads each; 0: tuned, and where nothing is
  // tuned as PlansFor says for `cores`.
  int replicas = 1;
  int threads = 1;
  int cores = 1;
  // Accelerators, an engine on each, as LibTorch writes them: "cuda:0". Empty: the CPU. Otherwise
  // everything is measured on the first device, and the cache is left alone, because it cannot tell
  // devices apart.
  std::vector<std::string> devices{};
  TuneFor tune_for = TuneFor::kThroughput;
  double tune_seconds = 0;  // 0: nothing is tuned
  // Where the model is called while others are served; nothing is tuned then. Null: nothing is
  // served yet, and the model is called on threads made for that.
  Carrier carrier = nullptr;
  // Where not null, what it knows is used in place of tuning, and it learns what was tuned.
  const TuningCache* tuning_cache = nullptr;
};

class Decoder;
class Denoiser;

// Load, then Examine once, before there are engines; then MakeExecutor for each replica. The
// weights are on every device once, and shared by its executors.
class ServedModel {
 public:
  // Reads the files and lets LibTorch load them; calls nothing of the model yet. Any thread, after
  // PrepareProcess. Errors are one line for the operator: NOT_FOUND, INVALID_ARGUMENT,
  // RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::shared_ptr<ServedModel>> Load(const ModelFolder& folder,
                                                           const LoadOptions& options);
  ~ServedModel();

  // Shows that the model can be batched (examination.h, decoder_examination.h), chooses how it is
  // run (variants.h, tuner.h) and at which batch sizes (batch_sizes.h, batch_invariance.h): about a
  // second and tune_seconds, a few more where bits are compared. On any thread, while no engine
  // runs: it calls the model on threads of its own, which have as many threads as the engines will
  // have, so that what holds there holds on those, and which have ended when it returns; or by
  // options.carrier, on any thread that no engine waits for. Of further accelerators it is shown
  // that they answer as the first, or it is INVALID_ARGUMENT.
  absl::Status Examine();

  // Complete after Examine.
  std::shared_ptr<const ModelInfo> info() const { return info_; }
  // What Examine found, as far as it came.
  const ExaminationReport& report() const { return report_; }
  // For the log, one line each.
  const std::vector<std::string>& remarks() const { return remarks_; }
  // What Examine would rather not have found: one line each.
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Calls denoiser and decoder at every batch size, by the carrier, on the engine that will run
  // that replica. After Examine.
  absl::Status Warm(const Carrier& carrier, int replica = 0) const;

  // Makes an executor for the calling thread, which is that replica's engine's
  // (PrepareEngineThread), and warms it, unless Warm has been left to do so (options.carrier).
  // After Examine; from several threads at once if need be.
  absl::StatusOr<std::unique_ptr<Executor>> MakeExecutor(int replica = 0) const;

 private:
  // What has LibTorch's types.
  struct Module;

  ServedModel(LoadOptions options, std::string folder, ModelFiles files,
              std::unique_ptr<Module> module);

  bool accelerated() const { return !options_.devices.empty(); }
  const std::shared_ptr<const Denoiser>& DenoiserOf(int replica) const;
  std::shared_ptr<const Decoder> DecoderOf(int replica) const;  // null: there is none
  absl::Status ExaminePlain();
  absl::Status ExamineDecoder();
  // The way that is run, and what was measured of others.
  absl::StatusOr<TunedChoice> Choose(const std::vector<Plan>& plans);
  std::optional<TunedChoice> FromCache(const std::vector<Plan>& plans);
  TuningKey CacheKey() const;
  absl::Status ChooseBatchSizes(TunedChoice* choice);
  // The sizes that are to be run; fills the report.
  absl::StatusOr<std::vector<BatchTime>> MeasureSizes();
  // Shows that a package is right at every batch size.
  absl::Status ComparePackage();
  absl::Status LoadOnFurtherDevices(const TuningResult& way);
  // What is loaded there answers as it does on the first device.
  absl::Status CheckAlike(const std::string& device, double difference, double rounding) const;
  absl::Status Identify();
  // Of the report's times, those whose sizes are run with --batch-invariant.
  absl::StatusOr<std::vector<BatchTime>> InvariantSizes() const;

  const LoadOptions options_;
  const std::string folder_;
  const DenoiserFiles files_;
  const std::string decoder_file_;  // empty: there is none
  const std::vector<std::string> remarks_;
  std::shared_ptr<ModelInfo> info_;
  std::unique_ptr<Module> module_;
  ExaminationReport report_;
  std::vector<std::string> warnings_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_SERVED_MODEL_H_
