#include "server/model/served_model.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/model/chain/torch_executor.h"
#include "server/model/denoiser/carried_denoiser.h"
#include "server/model/denoiser/decoder.h"
#include "server/model/denoiser/load_denoiser.h"
#include "server/model/examination/batch_invariance.h"
#include "server/model/examination/batch_sizes.h"
#include "server/model/examination/decoder_examination.h"
#include "server/model/examination/examination.h"
#include "server/model/examination/numerics_id.h"
#include "server/model/examination/size_comparison.h"
#include "server/model/examination/warm_up.h"
#include "server/model/runtime/allocator.h"
#include "server/model/runtime/machine.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/model/tuning/tuner.h"
#include "server/model/tuning/variants.h"

namespace denoise {
namespace {

// The CPU where there are none.
c10::Device FirstOf(const std::vector<std::string>& devices) {
  return devices.empty() ? c10::Device(c10::kCPU) : c10::Device(devices[0]);
}

absl::Status In(const std::string& folder, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(folder, ": ", status.message()));
}

// Threads that may call a denoiser at once, whatever is chosen.
int MostCallers(const LoadOptions& options) {
  return std::max({options.replicas, options.cores, 1});
}

}  // namespace

struct ServedModel::Module {
  // The call that others are compared with; gone after Examine, unless it is the one that is run.
  std::shared_ptr<const Denoiser> plain;
  std::vector<Variant> variants;  // during Examine
  // The one that is run, after Examine: on the CPU, or on the first device; and on those after it.
  std::shared_ptr<const Denoiser> denoiser;
  std::vector<std::shared_ptr<const Denoiser>> further;
  // On every device; none where the model has no decoder.
  std::vector<std::shared_ptr<const Decoder>> decoders;
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
  // The wish is looked at here, before anything is called; the plain call is TorchScript's wherever
  // there is one.
  const absl::StatusOr<absl::string_view> wished =
      ChooseExecutor(files->denoisers, options.executor);
  if (!wished.ok()) return In(folder.path, wished.status());
  const absl::StatusOr<absl::string_view> executor = ChooseExecutor(files->denoisers, "auto");
  absl::StatusOr<std::unique_ptr<Denoiser>> denoiser =
      LoadDenoiser(files->denoisers, files->info, *executor, Layout::kContiguous,
                   FirstOf(options.devices), MostCallers(options));
  if (!denoiser.ok()) return In(folder.path, denoiser.status());
  auto module = std::make_unique<Module>();
  module->plain = *std::move(denoiser);
  if (!files->decoder.empty()) {
    absl::StatusOr<std::unique_ptr<Decoder>> decoder =
        Decoder::Load(files->decoder, FirstOf(options.devices));
    if (!decoder.ok()) return In(folder.path, decoder.status());
    module->decoders.push_back(*std::move(decoder));
  }
  return std::shared_ptr<ServedModel>(
      new ServedModel(options, folder.path, *std::move(files), std::move(module)));
}

ServedModel::ServedModel(LoadOptions options, std::string folder, ModelFiles files,
                         std::unique_ptr<Module> module)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      files_(std::move(files.denoisers)),
      decoder_file_(std::move(files.decoder)),
      remarks_(std::move(files.remarks)),
      info_(std::make_shared<ModelInfo>(std::move(files.info))),
      module_(std::move(module)) {
  static std::atomic<uint64_t> loads{0};
  info_->id = ++loads;
}

ServedModel::~ServedModel() = default;

absl::Status ServedModel::Examine() {
  const std::vector<Plan> plans =
      PlansFor(options_.tune_for, options_.cores, options_.replicas, options_.threads);
  // With a carrier the model's calls are not made on these threads.
  const auto threads = [this](const Plan& plan) { return options_.carrier ? 1 : plan.threads; };
  absl::Status status = OnOwnThread(threads(plans[0]), [this] {
    const absl::Status plain = ExaminePlain();
    return plain.ok() ? ExamineDecoder() : plain;
  });
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
  // Two sets of weights are held only where the one is to be compared with the other.
  if (module_->denoiser->executor() != "aotinductor") module_->plain.reset();
  status = OnOwnThread(threads({way.replicas, way.threads}), [&]() -> absl::Status {
    if (absl::Status done = ChooseBatchSizes(&*choice); !done.ok()) return done;
    if (absl::Status done = ComparePackage(); !done.ok()) return done;
    return LoadOnFurtherDevices(way);
  });
  if (!status.ok()) return In(folder_, status);
  module_->plain.reset();
  ReleaseFreeMemory();
  return absl::OkStatus();
}

absl::Status ServedModel::ExaminePlain() {
  const absl::StatusOr<Findings> findings =
      denoise::Examine(CarriedDenoiser(*module_->plain, options_.carrier), *info_, &report_.tests);
  if (!findings.ok()) return findings.status();
  info_->learned_variance = findings->learned_variance;
  info_->integer_time = findings->integer_time;
  absl::StatusOr<std::vector<Variant>> variants =
      MakeVariants(files_, *info_, module_->plain,
                   {options_.executor, options_.layout, options_.precision, MostCallers(options_),
                    options_.carrier},
                   &warnings_);
  if (!variants.ok()) return variants.status();
  module_->variants = *std::move(variants);
  return absl::OkStatus();
}

absl::Status ServedModel::ExamineDecoder() {
  if (module_->decoders.empty()) return absl::OkStatus();
  const absl::StatusOr<DecoderFindings> findings = denoise::ExamineDecoder(
      *module_->decoders[0], *info_, options_.batch_invariant, options_.carrier, &report_.tests);
  if (!findings.ok()) return findings.status();
  info_->decoder->format.shape = findings->shape;
  info_->decoder->max_rows = findings->max_rows;
  return absl::OkStatus();
}

absl::StatusOr<TunedChoice> ServedModel::Choose(const std::vector<Plan>& plans) {
  TunedChoice choice;
  const bool free = module_->variants.size() * plans.size() > 1;
  if (free && !options_.batch_invariant) {
    if (std::optional<TunedChoice> cached = FromCache(plans)) return *std::move(cached);
    if (options_.tune_seconds > 0 && !options_.carrier) {
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
          {"package_sha256", info_->package_sha256},
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
  // What has become impossible since, or was written by hand, is tuned again.
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
  const BatchSizeOptions wishes = {options_.max_batch_rows, options_.batch_sizes, options_.carrier};
  absl::StatusOr<std::vector<BatchTime>> times = MeasureBatchSizes(denoiser, *info_, wishes);
  if (!times.ok()) return times.status();
  report_.times = *times;
  if (options_.batch_invariant || options_.report_agreement) {
    std::vector<int64_t> sizes;
    sizes.reserve(times->size());
    for (const BatchTime& time : *times) sizes.push_back(time.rows);
    absl::StatusOr<std::vector<int>> agreement =
        FindAgreement(CarriedDenoiser(denoiser, options_.carrier), *info_, sizes);
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

absl::Status ServedModel::ComparePackage() {
  const Denoiser& package = *module_->denoiser;
  if (package.executor() != "aotinductor") return absl::OkStatus();
  // The package itself where it is alone.
  const Denoiser& reference = *module_->plain;
  const std::string what =
      files_.torchscript.empty() ? "those to single rows" : "those of denoiser.pt";
  const absl::StatusOr<SizeDifference> worst =
      CompareSizes(CarriedDenoiser(package, options_.carrier),
                   CarriedDenoiser(reference, options_.carrier), *info_, info_->batch_sizes);
  if (!worst.ok()) return worst.status();
  const std::string apart =
      absl::StrCat("apart by ", worst->difference, " of their size from ", what);
  if (worst->difference > RoundingOf(package.precision())) {
    return absl::InvalidArgumentError(absl::StrCat(
        std::string(package.file()), ": its answers to batches of ", worst->rows, " rows are ",
        apart,
        ", more than rounding explains: it has other weights, or was compiled wrongly; "
        "export it again, or serve denoiser.pt with --executor torchscript"));
  }
  report_.tests.push_back({"batch sizes", absl::StrCat("answers ", apart, " at most")});
  return absl::OkStatus();
}

absl::Status ServedModel::LoadOnFurtherDevices(const TuningResult& way) {
  const Denoiser& first = *module_->denoiser;
  for (size_t i = 1; i < options_.devices.size(); ++i) {
    const std::string& device = options_.devices[i];
    absl::StatusOr<std::shared_ptr<const Denoiser>> other =
        LoadVariant(files_, *info_, way, c10::Device(device));
    if (!other.ok()) return other.status();
    const absl::StatusOr<double> difference =
        Difference(CarriedDenoiser(**other, options_.carrier),
                   CarriedDenoiser(first, options_.carrier), *info_, info_->integer_time);
    if (!difference.ok()) return difference.status();
    absl::Status alike = CheckAlike(device, *difference, RoundingOf(first.precision()));
    if (!alike.ok()) return alike;
    module_->further.push_back(*std::move(other));
    if (decoder_file_.empty()) continue;

    absl::StatusOr<std::unique_ptr<Decoder>> decoder =
        Decoder::Load(decoder_file_, c10::Device(device));
    if (!decoder.ok()) return decoder.status();
    const Decoder& first_decoder = *module_->decoders[0];
    const absl::StatusOr<double> apart =
        DecoderDifference(**decoder, first_decoder, *info_, options_.carrier);
    if (!apart.ok()) return apart.status();
    alike = CheckAlike(device, *apart, RoundingOf(first_decoder.dtype()));
    if (!alike.ok()) return alike;
    module_->decoders.push_back(*std::move(decoder));
  }
  return absl::OkStatus();
}

absl::Status ServedModel::CheckAlike(const std::string& device, double difference,
                                     double rounding) const {
  if (difference <= (options_.batch_invariant ? 0 : rounding)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--devices: ", device, " answers otherwise than ", options_.devices[0], " (by ",
                   difference, " of the largest value)",
                   options_.batch_invariant ? ", which --batch-invariant does not allow" : "",
                   ": serve devices of one kind together, and others by a server of their own"));
}

absl::Status ServedModel::Identify() {
  std::string bits;
  if (options_.batch_invariant) {
    absl::StatusOr<std::string> probe =
        ProbeBits(CarriedDenoiser(*module_->denoiser, options_.carrier), *info_);
    if (!probe.ok()) return probe.status();
    bits = *std::move(probe);
  }
  Machine machine = ThisMachine();
  // Devices of one kind are taken to be equal here; with --batch-invariant the bits tell.
  if (!options_.devices.empty()) machine.capability = module_->denoiser->device().str();
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
      " does ", std::string(module_->denoiser->file()),
      " give a row the same bits at every position and in any batch: try "
      "other --batch-sizes, --layout or --threads 1, or serve it without the flag"));
}

const std::shared_ptr<const Denoiser>& ServedModel::DenoiserOf(int replica) const {
  const bool first = replica == 0 || module_->further.empty();
  return first ? module_->denoiser : module_->further[replica - 1];
}

std::shared_ptr<const Decoder> ServedModel::DecoderOf(int replica) const {
  const auto& decoders = module_->decoders;
  if (decoders.empty()) return nullptr;
  return decoders.size() == 1 ? decoders[0] : decoders[replica];
}

absl::Status ServedModel::Warm(const Carrier& carrier, int replica) const {
  const std::shared_ptr<const Decoder> decoder = DecoderOf(replica);
  absl::Status status = WarmUp(*DenoiserOf(replica), *info_, carrier);
  if (!status.ok() || decoder == nullptr) return status;
  return WarmUpDecoder(*decoder, *info_, carrier);
}

absl::StatusOr<std::unique_ptr<Executor>> ServedModel::MakeExecutor(int replica) const {
  const bool core_is_free = accelerated() || info_->replicas * info_->threads < options_.cores;
  absl::StatusOr<std::unique_ptr<Executor>> executor =
      TorchExecutor::Make(info_, DenoiserOf(replica), DecoderOf(replica), core_is_free);
  if (executor.ok() && !options_.carrier) {
    if (absl::Status status = Warm(nullptr, replica); !status.ok()) return status;
  }
  return executor;
}

}  // namespace denoise
