#include "server/model/served_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/batch_sizes.h"
#include "server/model/denoiser.h"
#include "server/model/examination.h"
#include "server/model/torch_executor.h"

namespace denoise {
namespace {

absl::Status In(const std::string& folder, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(folder, ": ", status.message()));
}

}  // namespace

struct ServedModel::Module {
  std::shared_ptr<const Denoiser> denoiser;
};

absl::StatusOr<std::shared_ptr<ServedModel>> ServedModel::Load(const ModelFolder& folder,
                                                               const LoadOptions& options) {
  if (options.layout != "auto" && options.layout != "contiguous" &&
      options.layout != "channels_last") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--layout: ", options.layout, " is not one of auto, contiguous, channels_last"));
  }
  absl::StatusOr<ModelFiles> files = LoadModelFolder(folder);
  if (!files.ok()) return files.status();
  absl::StatusOr<std::unique_ptr<Denoiser>> denoiser = Denoiser::Load(
      files->denoiser,
      options.layout == "channels_last" ? Layout::kChannelsLast : Layout::kContiguous,
      files->info.num_classes > 0);
  if (!denoiser.ok()) return In(folder.path, denoiser.status());
  auto module = std::make_unique<Module>();
  module->denoiser = *std::move(denoiser);
  return std::shared_ptr<ServedModel>(
      new ServedModel(options, folder.path, *std::move(files), std::move(module)));
}

ServedModel::ServedModel(LoadOptions options, std::string folder, ModelFiles files,
                         std::unique_ptr<Module> module)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      path_(std::move(files.denoiser)),
      remarks_(std::move(files.remarks)),
      info_(std::make_shared<ModelInfo>(std::move(files.info))),
      module_(std::move(module)) {
  info_->replicas = options_.replicas;
  info_->threads = options_.threads;
}

ServedModel::~ServedModel() = default;

absl::Status ServedModel::Examine() {
  const absl::StatusOr<Findings> findings = denoise::Examine(*module_->denoiser, *info_);
  if (!findings.ok()) return In(folder_, findings.status());
  info_->learned_variance = findings->learned_variance;
  info_->integer_time = findings->integer_time;

  if (absl::Status status = ChooseLayout(); !status.ok()) return In(folder_, status);

  const absl::StatusOr<std::vector<BatchTime>> times = MeasureBatchSizes(
      *module_->denoiser, *info_, {options_.max_batch_rows, options_.batch_sizes});
  if (!times.ok()) return In(folder_, times.status());
  info_->batch_sizes.clear();
  info_->denoiser_seconds.clear();
  for (const BatchTime& time : *times) {
    info_->batch_sizes.push_back(time.rows);
    info_->denoiser_seconds.push_back(time.seconds);
  }
  return absl::OkStatus();
}

absl::Status ServedModel::ChooseLayout() {
  constexpr double kRounding = 1e-5;
  std::shared_ptr<const Denoiser>& denoiser = module_->denoiser;
  if (options_.layout == "auto" && denoiser->has_convolutions()) {
    absl::StatusOr<std::unique_ptr<Denoiser>> other =
        Denoiser::Load(path_, Layout::kChannelsLast, denoiser->takes_labels());
    if (!other.ok()) return other.status();
    const absl::StatusOr<double> difference =
        Difference(**other, *denoiser, *info_, info_->integer_time);
    // A model that cannot be called in that layout keeps the one that it was written in.
    if (difference.ok() && *difference <= kRounding) denoiser = *std::move(other);
  }
  info_->layout = denoiser->layout() == Layout::kChannelsLast ? "channels_last" : "contiguous";
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Executor>> ServedModel::MakeExecutor() const {
  return TorchExecutor::Make(info_, module_->denoiser);
}

}  // namespace denoise
