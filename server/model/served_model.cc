#include "server/model/served_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/model/batch_invariance.h"
#include "server/model/batch_sizes.h"
#include "server/model/examination.h"
#include "server/model/torch_executor.h"
#include "server/model/torchscript_denoiser.h"

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
  absl::StatusOr<std::unique_ptr<Denoiser>> denoiser = TorchScriptDenoiser::Load(
      files->denoiser,
      options.layout == "channels_last" ? Layout::kChannelsLast : Layout::kContiguous,
      files->info.inputs);
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
  const absl::StatusOr<Findings> findings =
      denoise::Examine(*module_->denoiser, *info_, &report_.tests);
  if (!findings.ok()) return In(folder_, findings.status());
  info_->learned_variance = findings->learned_variance;
  info_->integer_time = findings->integer_time;
  info_->precision = PrecisionName(module_->denoiser->dtype());
  info_->executor = std::string(module_->denoiser->executor());

  if (absl::Status status = ChooseLayout(); !status.ok()) return In(folder_, status);
  if (absl::Status status = ChooseBatchSizes(); !status.ok()) return In(folder_, status);
  return absl::OkStatus();
}

absl::Status ServedModel::ChooseLayout() {
  std::shared_ptr<const Denoiser>& denoiser = module_->denoiser;
  if (options_.layout == "auto" && denoiser->has_convolutions()) {
    absl::StatusOr<std::unique_ptr<Denoiser>> other =
        TorchScriptDenoiser::Load(path_, Layout::kChannelsLast, info_->inputs);
    if (!other.ok()) return other.status();
    const absl::StatusOr<double> difference =
        Difference(**other, *denoiser, *info_, info_->integer_time);
    // A model that cannot be called in that layout keeps the one that it was written in.
    if (difference.ok() && *difference <= RoundingOf(denoiser->dtype())) {
      denoiser = *std::move(other);
    }
  }
  info_->layout = denoiser->layout() == Layout::kChannelsLast ? "channels_last" : "contiguous";
  return absl::OkStatus();
}

absl::Status ServedModel::ChooseBatchSizes() {
  const BatchSizeOptions wishes = {options_.max_batch_rows, options_.batch_sizes};
  const bool compare = options_.batch_invariant || options_.report_agreement;
  absl::StatusOr<std::vector<BatchTime>> times =
      MeasureBatchSizes(*module_->denoiser, *info_, wishes, /*wide=*/compare);
  if (!times.ok()) return times.status();
  report_.times = *times;
  if (compare) {
    std::vector<int64_t> sizes;
    sizes.reserve(times->size());
    for (const BatchTime& time : *times) sizes.push_back(time.rows);
    absl::StatusOr<std::vector<int>> agreement = FindAgreement(*module_->denoiser, *info_, sizes);
    if (!agreement.ok()) return agreement.status();
    report_.agreement = *std::move(agreement);
  }
  if (options_.batch_invariant) {
    times = InvariantSizes();
    if (!times.ok()) return times.status();
  }
  if (wishes.free()) times->resize(KneeOf(*times, LeastFor(*times, MayBeGuided(*info_))));

  info_->batch_invariant = options_.batch_invariant;
  info_->batch_sizes.clear();
  info_->denoiser_seconds.clear();
  for (const BatchTime& time : *times) {
    info_->batch_sizes.push_back(time.rows);
    info_->denoiser_seconds.push_back(time.seconds);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BatchTime>> ServedModel::InvariantSizes() const {
  std::vector<BatchTime> chosen =
      ChooseAgreement(report_.times, report_.agreement, MayBeGuided(*info_));
  if (!chosen.empty()) return chosen;
  return absl::InvalidArgumentError(absl::StrCat(
      "--batch-invariant: at none of the batch sizes ",
      absl::StrJoin(
          report_.times, ", ",
          [](std::string* out, const BatchTime& time) { absl::StrAppend(out, time.rows); }),
      " does denoiser.pt give a row the same bits at every position and in any company: try "
      "other --batch-sizes, --layout or --threads 1, or serve it without the flag"));
}

absl::StatusOr<std::unique_ptr<Executor>> ServedModel::MakeExecutor() const {
  return TorchExecutor::Make(info_, module_->denoiser);
}

}  // namespace denoise
