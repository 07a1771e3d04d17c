#include "server/model/tuning/variants.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/denoiser/autocast_denoiser.h"
#include "server/model/denoiser/carried_denoiser.h"
#include "server/model/denoiser/load_denoiser.h"
#include "server/model/examination/examination.h"
#include "server/model/runtime/machine.h"
#include "server/model/runtime/precision.h"

namespace denoise {
namespace {

constexpr char kTorchScript[] = "torchscript";
constexpr char kAotInductor[] = "aotinductor";
constexpr char kLeaveOutTheFlag[] = "leave out the flag";

// In the wished precision, which CheckPrecision allows.
std::shared_ptr<const Denoiser> InPrecision(std::shared_ptr<const Denoiser> denoiser,
                                            const std::string& precision) {
  if (precision == "float32" || denoiser->dtype() == at::kBFloat16) return denoiser;
  return std::make_shared<AutocastDenoiser>(std::move(denoiser));
}

// The layouts that are to be tried, the preferred first.
std::vector<Layout> Layouts(const VariantWishes& wishes, const Denoiser& plain) {
  if (wishes.layout == "channels_last") return {Layout::kChannelsLast};
  if (wishes.layout == "contiguous" || !plain.has_convolutions()) return {Layout::kContiguous};
  const bool half = wishes.precision == "bfloat16" || plain.dtype() == at::kHalf ||
                    plain.dtype() == at::kBFloat16;
  if (plain.device().is_cpu() || half) return {Layout::kChannelsLast, Layout::kContiguous};
  return {Layout::kContiguous, Layout::kChannelsLast};
}

class Maker {
 public:
  Maker(const ModelInfo& info, std::shared_ptr<const Denoiser> plain, const VariantWishes& wishes,
        std::vector<std::string>* warnings)
      : info_(info),
        plain_(std::move(plain)),
        like_(InPrecision(plain_, wishes.precision)),
        carrier_(wishes.carrier),
        warnings_(warnings) {}

  // Adds the denoiser. An error, of the form "`what`: reason: `fix`", where it cannot be called or
  // answers values that are not finite, or otherwise than by rounding and is one of several.
  absl::Status Add(std::shared_ptr<const Denoiser> denoiser, const std::string& what,
                   const std::string& fix, bool only_one) {
    const absl::StatusOr<double> error = Apart(*denoiser, *plain_);
    const absl::StatusOr<double> rounding = Apart(*denoiser, *like_);
    if (!error.ok() || !rounding.ok()) {
      const absl::Status& status = error.ok() ? rounding.status() : error.status();
      return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
    }
    if (!std::isfinite(*error)) {
      return absl::InvalidArgumentError(absl::StrCat(what, ": its answers are not finite: ", fix));
    }
    if (*rounding > RoundingOf(denoiser->precision())) {
      const std::string apart = absl::StrCat(
          what, ": its answers are apart by ", *rounding,
          " of their size from those of the plain call, more than rounding explains: ", fix);
      if (!only_one) return absl::InvalidArgumentError(apart);
      warnings_->push_back(apart);
    }
    if (*error > RoundingOf(denoiser->precision()) &&
        denoiser->precision() != plain_->precision()) {
      warnings_->push_back(absl::StrCat(what, ": answers are apart by ", *error,
                                        " of their size from those in float32: look at its "
                                        "samples before you rely on them"));
    }
    variants_.push_back({std::move(denoiser), *error});
    return absl::OkStatus();
  }

  const std::shared_ptr<const Denoiser>& plain() const { return plain_; }
  std::vector<Variant>& variants() { return variants_; }

 private:
  absl::StatusOr<double> Apart(const Denoiser& a, const Denoiser& b) const {
    if (&a == &b) return 0.0;
    return Difference(CarriedDenoiser(a, carrier_), CarriedDenoiser(b, carrier_), info_,
                      info_.integer_time);
  }

  const ModelInfo& info_;
  const std::shared_ptr<const Denoiser> plain_;
  const std::shared_ptr<const Denoiser> like_;  // plain, in the wished precision
  const Carrier carrier_;
  std::vector<std::string>* const warnings_;
  std::vector<Variant> variants_;
};

// Adds denoiser.pt in every layout that is left.
absl::Status AddScripts(const DenoiserFiles& files, const ModelInfo& info,
                        const VariantWishes& wishes, Maker* maker) {
  const std::shared_ptr<const Denoiser>& plain = maker->plain();
  const std::vector<Layout> layouts = Layouts(wishes, *plain);
  for (const Layout layout : layouts) {
    std::shared_ptr<const Denoiser> denoiser = plain;
    if (layout != plain->layout()) {
      auto loaded =
          LoadDenoiser(files, info, kTorchScript, layout, plain->device(), wishes.callers);
      if (!loaded.ok()) return loaded.status();
      denoiser = *std::move(loaded);
    }
    const std::string what = wishes.precision != "float32"
                                 ? absl::StrCat("--precision: ", wishes.precision)
                                 : absl::StrCat("--layout: ", LayoutName(layout));
    // The plain call itself is always right; its like in another precision may be useless.
    const bool last = layout == layouts.back() && maker->variants().empty();
    absl::Status status =
        maker->Add(InPrecision(denoiser, wishes.precision), what, kLeaveOutTheFlag, last);
    if (!status.ok() && last) return status;
  }
  return absl::OkStatus();
}

// Whether the package is what is wished for. Where it is the only variant there is and no precision
// was asked for, its own is right.
absl::Status CheckWishes(const Denoiser& package, const VariantWishes& wishes, bool only_one) {
  if (wishes.layout == "channels_last") {
    return absl::InvalidArgumentError(
        absl::StrCat("--layout: ", wishes.layout, " is not that of ", std::string(package.file()),
                     ", which has the one that it was compiled for: leave the flag out"));
  }
  const std::string precision = PrecisionName(package.precision());
  if (precision != wishes.precision && (wishes.precision != "float32" || !only_one)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--precision: ", wishes.precision, " is not that of ", std::string(package.file()),
        ", which was compiled for ", precision, ": export it for ", wishes.precision, ", or ",
        // float32 is what is wished for where nothing is said.
        wishes.precision == "float32" ? absl::StrCat("give --precision ", precision)
                                      : kLeaveOutTheFlag));
  }
  return absl::OkStatus();
}

// Adds denoiser.pt2. An error where it cannot be loaded, is not what is wished for, or as Add says.
absl::Status AddPackage(const DenoiserFiles& files, const ModelInfo& info,
                        const VariantWishes& wishes, bool only_one, Maker* maker) {
  std::shared_ptr<const Denoiser> package = maker->plain();
  if (package->executor() != kAotInductor) {
    auto loaded = LoadDenoiser(files, info, kAotInductor, Layout::kContiguous, package->device(),
                               wishes.callers);
    if (!loaded.ok()) return loaded.status();
    package = *std::move(loaded);
  }
  if (absl::Status status = CheckWishes(*package, wishes, only_one); !status.ok()) return status;
  if (only_one) {
    return maker->Add(std::move(package), "--executor: aotinductor", kLeaveOutTheFlag, only_one);
  }
  const std::string file(package->file());
  return maker->Add(std::move(package), file, "export it again, or give --executor torchscript",
                    only_one);
}

}  // namespace

absl::StatusOr<std::vector<Variant>> MakeVariants(const DenoiserFiles& files, const ModelInfo& info,
                                                  std::shared_ptr<const Denoiser> plain,
                                                  const VariantWishes& wishes,
                                                  std::vector<std::string>* warnings) {
  Machine machine = ThisMachine();
  // What an accelerator can do it says itself.
  machine.bfloat16 = machine.bfloat16 || !plain->device().is_cpu();
  if (absl::Status status =
          CheckPrecision(wishes.precision, PrecisionName(plain->dtype()), machine);
      !status.ok()) {
    return status;
  }
  Maker maker(info, plain, wishes, warnings);
  const bool scripts = !files.torchscript.empty() && wishes.executor != kAotInductor;
  if (scripts) {
    if (absl::Status status = AddScripts(files, info, wishes, &maker); !status.ok()) return status;
  }
  if (!files.package.empty() && wishes.executor != kTorchScript) {
    const absl::Status status = AddPackage(files, info, wishes, !scripts, &maker);
    if (!status.ok()) {
      if (!scripts) return status;
      warnings->push_back(absl::StrCat("not used: ", status.message()));
    }
  }
  return std::move(maker.variants());
}

absl::StatusOr<std::shared_ptr<const Denoiser>> LoadVariant(const DenoiserFiles& files,
                                                            const ModelInfo& info,
                                                            const TuningResult& way,
                                                            c10::Device device) {
  const Layout layout =
      way.layout == LayoutName(Layout::kChannelsLast) ? Layout::kChannelsLast : Layout::kContiguous;
  absl::StatusOr<std::unique_ptr<Denoiser>> loaded =
      LoadDenoiser(files, info, way.executor, layout, device, /*callers=*/1);
  if (!loaded.ok()) return loaded.status();
  std::shared_ptr<const Denoiser> denoiser = *std::move(loaded);
  if (PrecisionName(denoiser->precision()) == way.precision) return denoiser;
  return InPrecision(std::move(denoiser), way.precision);
}

}  // namespace denoise
