#include "server/model/served_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/model/batch_invariance.h"
#include "server/model/batch_sizes.h"
#include "server/model/examination.h"
#include "server/model/machine.h"
#include "server/model/numerics_id.h"
#include "server/model/torch_executor.h"
#include "server/model/torch_runtime.h"
#include "server/model/torchscript_denoiser.h"
#include "server/model/tuner.h"
#include "server/model/variants.h"

namespace denoise {
namespace {

absl::Status In(const std::string& folder, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(folder, ": ", status.message()));
}

}  // namespace

struct ServedModel::Module {
  // The call that others are held against; gone after Examine, unless it is the one that is run.
  std::shared_ptr<const Denoiser> plain;
  std::vector<Variant> variants;                         // during Examine
  std::shared_ptr<const Denoiser> denoiser;              // the one that is run, after Examine
  std::vector<std::shared_ptr<const Denoiser>> further;  // the same on the devices after the first
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
  absl::StatusOr<std::unique_ptr<Denoiser>> denoiser =
      TorchScriptDenoiser::Load(files->denoiser, Layout::kContiguous, files->info.inputs,
                                c10::Device(options.devices.empty() ? "cpu" : options.devices[0]));
  if (!denoiser.ok()) return In(folder.path, denoiser.status());
  auto module = std::make_unique<Module>();
  module->plain = *std::move(denoiser);
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
      module_(std::move(module)) {}

ServedModel::~ServedModel() = default;

absl::Status ServedModel::Examine() {
  const std::vector<Plan> plans =
      accelerated()
          ? std::vector<Plan>{{1, std::max(options_.threads, 1)}}
          : PlansFor(options_.tune_for, options_.cores, options_.replicas, options_.threads);
  absl::Status status = OnOwnThread(plans[0].threads, [this] { return ExaminePlain(); });
  if (!status.ok()) return In(folder_, status);
  absl::StatusOr<TunedChoice> choice = Choose(plans);
  if (!choice.ok()) return In(folder_, choice.status());

  const TuningResult& way = choice->chosen();
  info_->executor = way.executor;
  info_->layout = way.layout;
  info_->precision = way.precision;
  info_->replicas = accelerated() ? static_cast<int>(options_.devices.size()) : way.replicas;
  info_->threads = way.threads;
  info_->batch_invariant = options_.batch_invariant;
  module_->denoiser = VariantOf(module_->variants, way)->denoiser;
  module_->variants.clear();
  module_->plain.reset();
  status = OnOwnThread(way.threads, [&] {
    const absl::Status chosen = ChooseBatchSizes(&*choice);
    return chosen.ok() ? LoadOnFurtherDevices() : chosen;
  });
  if (!status.ok()) return In(folder_, status);
  ReleaseFreeMemory();
  return absl::OkStatus();
}

absl::Status ServedModel::ExaminePlain() {
  const absl::StatusOr<Findings> findings =
      denoise::Examine(*module_->plain, *info_, &report_.tests);
  if (!findings.ok()) return findings.status();
  info_->learned_variance = findings->learned_variance;
  info_->integer_time = findings->integer_time;
  absl::StatusOr<std::vector<Variant>> variants =
      MakeVariants(path_, *info_, module_->plain,
                   {options_.executor, options_.layout, options_.precision}, &warnings_);
  if (!variants.ok()) return variants.status();
  module_->variants = *std::move(variants);
  return absl::OkStatus();
}

absl::StatusOr<TunedChoice> ServedModel::Choose(const std::vector<Plan>& plans) {
  TunedChoice choice;
  const bool free = module_->variants.size() * plans.size() > 1;
  if (free && !options_.batch_invariant) {
    if (std::optional<TunedChoice> cached = FromCache(plans)) return *std::move(cached);
    if (options_.tune_seconds > 0) {
      absl::StatusOr<std::vector<TuningResult>> ways =
          Tune(module_->variants, *info_,
               {options_.tune_for,
                options_.tune_seconds,
                plans,
                {options_.max_batch_rows, options_.batch_sizes}});
      if (!ways.ok()) return ways.status();
      choice.ways = *std::move(ways);
      if (choice.ways.empty()) {
        warnings_.push_back(absl::StrCat("--tune-seconds: ", options_.tune_seconds,
                                         " s were too short to measure anything, so that fixed "
                                         "rules decide: give more"));
      }
    }
  }
  if (choice.ways.empty()) {
    choice.ways.push_back(WayOf(module_->variants[0], plans[0]));
    choice.ways[0].chosen = true;
  }
  return choice;
}

TuningKey ServedModel::CacheKey() const {
  const Machine& machine = ThisMachine();
  return {{"sha256", info_->sha256},
          {"libtorch", machine.libtorch},
          {"cpu", machine.cpu},
          {"capability", machine.capability},
          {"cores", absl::StrCat(options_.cores)},
          {"tune_for", options_.tune_for == TuneFor::kLatency ? "latency" : "throughput"},
          {"executor", options_.executor},
          {"layout", options_.layout},
          {"precision", options_.precision},
          {"replicas", absl::StrCat(options_.replicas)},
          {"threads", absl::StrCat(options_.threads)},
          {"batch_sizes", absl::StrJoin(options_.batch_sizes, ",")},
          {"max_batch_rows", absl::StrCat(options_.max_batch_rows)}};
}

std::optional<TunedChoice> ServedModel::FromCache(const std::vector<Plan>& plans) {
  if (options_.tuning_cache == nullptr || accelerated()) return std::nullopt;
  absl::StatusOr<std::optional<TunedChoice>> found = options_.tuning_cache->Find(CacheKey());
  if (!found.ok()) {
    warnings_.emplace_back(found.status().message());
    return std::nullopt;
  }
  if (!found->has_value()) return std::nullopt;
  // What has become impossible since, or was written by hand, is tuned anew.
  const TuningResult& way = (*found)->chosen();
  const Plan plan = {way.replicas, way.threads};
  if (VariantOf(module_->variants, way) == nullptr ||
      std::count(plans.begin(), plans.end(), plan) == 0) {
    return std::nullopt;
  }
  return *std::move(found);
}

absl::Status ServedModel::ChooseBatchSizes(TunedChoice* choice) {
  const bool cached = !choice->times.empty();
  if (!cached || options_.report_agreement) {
    absl::StatusOr<std::vector<BatchTime>> times = MeasureSizes();
    if (!times.ok()) return times.status();
    if (!cached) choice->times = *std::move(times);
  }
  for (const BatchTime& time : choice->times) {
    info_->batch_sizes.push_back(time.rows);
    info_->denoiser_seconds.push_back(time.seconds);
  }
  const bool tuned = choice->chosen().rows_per_second > 0;
  if (!tuned) {
    TuningResult& only = choice->ways[0];
    const BatchTime& best = *std::max_element(
        choice->times.begin(), choice->times.end(),
        [](const auto& a, const auto& b) { return a.rows_per_second() < b.rows_per_second(); });
    only.batch_size = best.rows;
    only.rows_per_second = only.replicas * best.rows_per_second();
    only.call_seconds = best.seconds;
  } else if (!cached && options_.tuning_cache != nullptr && !accelerated()) {
    const absl::Status put = options_.tuning_cache->Put(CacheKey(), *choice);
    if (!put.ok()) warnings_.emplace_back(put.message());
  }
  info_->tuning = choice->ways;
  return Identify();
}

absl::StatusOr<std::vector<BatchTime>> ServedModel::MeasureSizes() {
  const Denoiser& denoiser = *module_->denoiser;
  const BatchSizeOptions wishes = {options_.max_batch_rows, options_.batch_sizes};
  absl::StatusOr<std::vector<BatchTime>> times = MeasureBatchSizes(denoiser, *info_, wishes);
  if (!times.ok()) return times.status();
  report_.times = *times;
  if (options_.batch_invariant || options_.report_agreement) {
    std::vector<int64_t> sizes;
    sizes.reserve(times->size());
    for (const BatchTime& time : *times) sizes.push_back(time.rows);
    absl::StatusOr<std::vector<int>> agreement = FindAgreement(denoiser, *info_, sizes);
    if (!agreement.ok()) return agreement.status();
    report_.agreement = *std::move(agreement);
  }
  if (options_.batch_invariant) {
    times = InvariantSizes();
    if (!times.ok()) return times.status();
  }
  if (wishes.free()) times->resize(KneeOf(*times, LeastFor(*times, MayBeGuided(*info_))));
  return times;
}

absl::Status ServedModel::LoadOnFurtherDevices() {
  const Denoiser& first = *module_->denoiser;
  for (size_t i = 1; i < options_.devices.size(); ++i) {
    const std::string& device = options_.devices[i];
    auto other = OnDevice(path_, *info_, first, device);
    if (!other.ok()) return other.status();
    const absl::StatusOr<double> difference =
        Difference(**other, first, *info_, info_->integer_time);
    if (!difference.ok()) return difference.status();
    const double allowed = options_.batch_invariant ? 0 : RoundingOf(first.precision());
    if (!(*difference <= allowed)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--devices: ", device, " answers otherwise than ", options_.devices[0], " (by ",
          *difference, " of the largest value)",
          options_.batch_invariant ? ", which --batch-invariant does not allow" : "",
          ": serve devices of one kind together, and others by a server of their own"));
    }
    module_->further.push_back(*std::move(other));
  }
  return absl::OkStatus();
}

absl::Status ServedModel::Identify() {
  std::string bits;
  if (options_.batch_invariant) {
    absl::StatusOr<std::string> probe = ProbeBits(*module_->denoiser, *info_);
    if (!probe.ok()) return probe.status();
    bits = *std::move(probe);
  }
  Machine machine = ThisMachine();
  // Of what kind; which one of it, only the probe's bits tell.
  if (accelerated())
    machine.capability = c10::DeviceTypeName(c10::Device(options_.devices[0]).type());
  info_->numerics_id = NumericsId(*info_, machine, bits);
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

absl::StatusOr<std::unique_ptr<Executor>> ServedModel::MakeExecutor(int replica) const {
  const std::vector<std::shared_ptr<const Denoiser>>& further = module_->further;
  const bool first = replica == 0 || further.empty();
  return TorchExecutor::Make(info_, first ? module_->denoiser : further[replica - 1]);
}

}  // namespace denoise
