#include "server/model/variants.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/autocast_denoiser.h"
#include "server/model/examination.h"
#include "server/model/machine.h"
#include "server/model/precision.h"
#include "server/model/torchscript_denoiser.h"

namespace denoise {
namespace {

// In the wished precision, which CheckPrecision allows.
std::shared_ptr<const Denoiser> InPrecision(std::shared_ptr<const Denoiser> denoiser,
                                            const std::string& precision) {
  if (precision == "float32" || denoiser->dtype() == at::kBFloat16) return denoiser;
  return std::make_shared<AutocastDenoiser>(std::move(denoiser));
}

// The layouts that are to be tried, the preferred first; `like`: of the precision.
std::vector<Layout> Layouts(const std::string& wish, const Denoiser& like) {
  if (wish == "channels_last") return {Layout::kChannelsLast};
  if (wish == "contiguous" || !like.has_convolutions()) return {Layout::kContiguous};
  const bool half = like.precision() == at::kHalf || like.precision() == at::kBFloat16;
  if (like.device().is_cpu() || half) return {Layout::kChannelsLast, Layout::kContiguous};
  return {Layout::kContiguous, Layout::kChannelsLast};
}

// As CheckPrecision is to see it: what the CPU has is no matter to accelerators, which all have
// bfloat16.
Machine MachineOf(c10::Device device) {
  Machine machine = ThisMachine();
  machine.bfloat16 = machine.bfloat16 || !device.is_cpu();
  return machine;
}

class Maker {
 public:
  Maker(const ModelInfo& info, std::shared_ptr<const Denoiser> plain, const VariantWishes& wishes,
        std::vector<std::string>* warnings)
      : info_(info),
        plain_(std::move(plain)),
        like_(InPrecision(plain_, wishes.precision)),
        warnings_(warnings) {}

  // Adds the denoiser, `what` in words, unless it answers otherwise or not at all and is one of
  // several.
  absl::Status Add(std::shared_ptr<const Denoiser> denoiser, const std::string& what,
                   bool only_one) {
    const absl::StatusOr<double> error = Apart(*denoiser, *plain_);
    const absl::StatusOr<double> rounding = Apart(*denoiser, *like_);
    if (!error.ok() || !rounding.ok() || !std::isfinite(*error)) {
      if (!only_one) return absl::OkStatus();
      return error.ok() ? absl::InvalidArgumentError(absl::StrCat(
                              what,
                              ": denoiser.pt answers values that are not finite: leave out "
                              "the flag"))
                        : absl::Status(error.status().code(),
                                       absl::StrCat(what, ": ", error.status().message()));
    }
    if (*rounding > RoundingOf(denoiser->precision())) {
      if (!only_one) return absl::OkStatus();
      warnings_->push_back(absl::StrCat(what, ": answers are apart by ", *rounding,
                                        " of their size from those of the plain call, more than "
                                        "rounding explains"));
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
    return Difference(a, b, info_, info_.integer_time);
  }

  const ModelInfo& info_;
  const std::shared_ptr<const Denoiser> plain_;
  const std::shared_ptr<const Denoiser> like_;  // plain, in the wished precision
  std::vector<std::string>* const warnings_;
  std::vector<Variant> variants_;
};

}  // namespace

absl::StatusOr<std::vector<Variant>> MakeVariants(const std::string& path, const ModelInfo& info,
                                                  std::shared_ptr<const Denoiser> plain,
                                                  const VariantWishes& wishes,
                                                  std::vector<std::string>* warnings) {
  if (wishes.executor != "auto" && wishes.executor != plain->executor()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--executor: ", wishes.executor, " is not one of auto, ", std::string(plain->executor())));
  }
  if (absl::Status status = CheckPrecision(wishes.precision, PrecisionName(plain->dtype()),
                                           MachineOf(plain->device()));
      !status.ok()) {
    return status;
  }
  Maker maker(info, plain, wishes, warnings);
  const std::vector<Layout> layouts = Layouts(wishes.layout, *InPrecision(plain, wishes.precision));
  for (const Layout layout : layouts) {
    std::shared_ptr<const Denoiser> denoiser = plain;
    if (layout != plain->layout()) {
      auto loaded = TorchScriptDenoiser::Load(path, layout, info.inputs, plain->device());
      if (!loaded.ok()) return loaded.status();
      denoiser = *std::move(loaded);
    }
    const std::string what = wishes.precision != "float32"
                                 ? absl::StrCat("--precision: ", wishes.precision)
                                 : absl::StrCat("--layout: ", LayoutName(layout));
    // The plain call itself is always right; its like in another precision may be useless.
    const bool last = layout == layouts.back() && maker.variants().empty();
    absl::Status status = maker.Add(InPrecision(denoiser, wishes.precision), what, last);
    if (!status.ok()) return status;
  }
  return std::move(maker.variants());
}

absl::StatusOr<std::shared_ptr<const Denoiser>> OnDevice(const std::string& path,
                                                         const ModelInfo& info,
                                                         const Denoiser& like,
                                                         const std::string& device) {
  auto loaded = TorchScriptDenoiser::Load(path, like.layout(), info.inputs, c10::Device(device));
  if (!loaded.ok()) return loaded.status();
  std::shared_ptr<const Denoiser> denoiser = *std::move(loaded);
  return like.precision() == like.dtype() ? denoiser : InPrecision(denoiser, "bfloat16");
}

}  // namespace denoise
