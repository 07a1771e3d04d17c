// A model from its folder to executors that run it: all that the server needs to know of this
// layer. Without LibTorch's headers.
#ifndef DENOISE_SERVER_MODEL_SERVED_MODEL_H_
#define DENOISE_SERVER_MODEL_SERVED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/executor.h"
#include "server/engine/model_info.h"
#include "server/model/batch_time.h"
#include "server/model/examination_report.h"
#include "server/model/model_files.h"

namespace denoise {

// The operator's wishes.
struct LoadOptions {
  // "contiguous", "channels_last", or "auto": channels_last where the model has convolutions and
  // answers the same but for rounding; on an accelerator only where the weights are of 16 bits,
  // which its matrix units take in that layout. A fixed rule and not a timing, so that equal
  // servers choose equally.
  std::string layout = "auto";
  int64_t max_batch_rows = 0;          // 0: where the device is saturated
  std::vector<int64_t> batch_sizes{};  // empty: chosen by measuring
  // Only sizes are run that agree bit for bit, so that a request's bits are the same alone and in
  // any company, on any replica.
  bool batch_invariant = false;
  // Whether the report is to say which sizes agree, also where that decides nothing.
  bool report_agreement = false;
  // Accelerators, one a replica, as LibTorch writes them: "cuda:0". Empty: all on the CPU.
  std::vector<std::string> devices{};
  // Told on in ModelInfo.
  int replicas = 1;
  int threads = 1;
};

// Load, then Examine once, then MakeExecutor for each replica. The weights are on every device
// once, and shared by its executors.
class ServedModel {
 public:
  // Reads the files and lets LibTorch load them; calls nothing of the model yet. Any thread, after
  // PrepareProcess. Errors are one line for the operator: NOT_FOUND, INVALID_ARGUMENT,
  // RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::shared_ptr<ServedModel>> Load(const ModelFolder& folder,
                                                           const LoadOptions& options);
  ~ServedModel();

  // Shows that the model can be batched and measures it (examination.h, batch_sizes.h,
  // batch_invariance.h); about a second, a few where bits are compared. On the first engine's
  // thread (PrepareEngineThread), while the others are idle. The others have as many threads each,
  // so that what holds on this one holds on all; of further accelerators it is shown that they
  // answer the same, or it is INVALID_ARGUMENT.
  absl::Status Examine();

  // Complete after Examine.
  std::shared_ptr<const ModelInfo> info() const { return info_; }
  // What Examine found, as far as it came.
  const ExaminationReport& report() const { return report_; }
  // For the log, one line each.
  const std::vector<std::string>& remarks() const { return remarks_; }

  // Makes an executor for the calling thread, which is that replica's engine's
  // (PrepareEngineThread), and warms it at every batch size. After Examine; from several threads at
  // once if need be.
  absl::StatusOr<std::unique_ptr<Executor>> MakeExecutor(int replica = 0) const;

 private:
  // What has LibTorch's types.
  struct Module;

  ServedModel(LoadOptions options, std::string folder, ModelFiles files,
              std::unique_ptr<Module> module);

  absl::Status ChooseLayout();
  absl::Status LoadOnFurtherDevices();
  absl::Status ChooseBatchSizes();
  // Of the report's times, those whose sizes are run with --batch-invariant.
  absl::StatusOr<std::vector<BatchTime>> InvariantSizes() const;

  const LoadOptions options_;
  const std::string folder_;
  const std::string path_;  // of denoiser.pt
  const std::vector<std::string> remarks_;
  std::shared_ptr<ModelInfo> info_;
  std::unique_ptr<Module> module_;
  ExaminationReport report_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_SERVED_MODEL_H_
