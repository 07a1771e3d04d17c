#include "server/model/examination/examiner.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {

double DifferenceOf(const float* a, const float* b, int64_t n) {
  double apart = 0, size = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      return std::numeric_limits<double>::infinity();
    }
    apart = std::max(apart, std::abs(static_cast<double>(a[i]) - b[i]));
    size = std::max(size, std::abs(static_cast<double>(b[i])));
  }
  return apart == 0 ? 0 : apart / size;
}

Examiner::Examiner(const Denoiser& denoiser, const ModelInfo& info, const ExampleRows& rows,
                   bool integer_time, int64_t max_rows)
    : denoiser_(denoiser),
      info_(info),
      rows_(rows),
      inputs_(info, denoiser, integer_time, max_rows) {}

absl::Status Examiner::Refused(absl::string_view reason, absl::string_view fix) const {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(denoiser_.file()), ": ", reason, ": ", fix));
}

absl::StatusOr<at::Tensor> Examiner::Call(const std::vector<Probe>& probes) {
  const auto count = static_cast<int64_t>(probes.size());
  if (absl::Status status = inputs_.Begin(count, rows_.conditions()); !status.ok()) return status;
  for (int64_t i = 0; i < count; ++i) {
    const Probe& probe = probes[i];
    inputs_.Set(i, rows_.picture(probe.picture), probe.t,
                {probe.y, rows_.conditions(), probe.condition});
  }
  return inputs_.Run(denoiser_, count);
}

absl::StatusOr<Answer> Examiner::Ask(const std::vector<Probe>& probes) {
  const absl::StatusOr<at::Tensor> tensor = Call(probes);
  if (!tensor.ok()) return Explain(tensor.status(), probes);
  return Check(*tensor, probes);
}

// "for 2 rows of [1, 28, 28], t = 0, 999, y = 3, 3, text [4, 8]"
std::string Examiner::Describe(const std::vector<Probe>& probes) const {
  const auto join = [&](auto member) {
    return absl::StrJoin(probes, ", ", [&](std::string* out, const Probe& probe) {
      absl::StrAppend(out, probe.*member);
    });
  };
  const SampleShape& shape = info_.shape;
  std::string text = absl::StrCat("for ", probes.size(), probes.size() == 1 ? " row" : " rows",
                                  " of [", shape.channels, ", ", shape.height, ", ", shape.width,
                                  "], t = ", join(&Probe::t));
  size_t condition = 0;
  for (const ModelInput& input : info_.inputs) {
    if (input.kind == ModelInput::Kind::kClassLabels) {
      absl::StrAppend(&text, ", y = ", join(&Probe::y));
    } else {
      absl::StrAppend(&text, ", ", input.name, " [",
                      absl::StrJoin((*rows_.conditions())[condition++].shape, ", "), "]");
    }
  }
  return text;
}

absl::Status Examiner::Explain(const absl::Status& status, const std::vector<Probe>& probes) const {
  if (absl::IsResourceExhausted(status)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(std::string(denoiser_.file()), ": memory ran out ", Describe(probes)));
  }
  const std::string precision = PrecisionName(denoiser_.dtype());
  const std::string device = denoiser_.device().is_cpu() ? "" : denoiser_.device().str();
  const std::string reason =
      absl::StrCat("forward failed ", device.empty() ? "" : absl::StrCat("on ", device, " "),
                   Describe(probes), " (", status.message(), ")");
  if (precision != "float32") {
    return Refused(absl::StrCat(reason, ", its weights being ", precision),
                   absl::StrCat("what it does must be possible in ", precision, " on this ",
                                device.empty() ? "CPU" : "device",
                                ", with x and float32 conditions cast to that and t left as it is: "
                                "cast t in forward, or export it in float32"));
  }
  return Refused(
      reason,
      absl::StrCat("it must take x [N,C,H,W] float32, t [N]",
                   info_.num_classes > 0 ? ", labels [N] int64" : "",
                   rows_.conditions() != nullptr ? ", conditions as model.json's inputs say" : "",
                   ", for any N, every t of the schedule and every class of "
                   "model.json",
                   device.empty() ? "" : ", and make its own tensors on x's device"));
}

absl::StatusOr<Answer> Examiner::Check(const at::Tensor& tensor,
                                       const std::vector<Probe>& probes) const {
  const SampleShape& shape = info_.shape;
  const auto rows = static_cast<int64_t>(probes.size());
  if (tensor.scalar_type() != at::kFloat) {
    return Refused(absl::StrCat("forward answers ", at::toString(tensor.scalar_type())),
                   "it must answer floating point: add .float() to what it returns");
  }
  if (tensor.dim() != 4 || tensor.size(0) != rows || tensor.size(2) != shape.height ||
      tensor.size(3) != shape.width ||
      (tensor.size(1) != shape.channels && tensor.size(1) != 2 * shape.channels)) {
    return Refused(absl::StrCat("forward answers [", absl::StrJoin(tensor.sizes(), ", "), "] ",
                                Describe(probes)),
                   absl::StrCat("it must answer [", rows, ", ", shape.channels, " or ",
                                2 * shape.channels, ", ", shape.height, ", ", shape.width,
                                "]: correct model.json's sample_shape, or the module"));
  }
  try {
    const c10::InferenceMode inference;
    Answer answer{tensor.contiguous(), tensor[0].numel()};
    const float* const begin = answer.row(0);
    if (std::all_of(begin, begin + tensor.numel(), [](float v) { return std::isfinite(v); })) {
      return answer;
    }
  } catch (...) {
    return CurrentExceptionStatus();
  }
  return Refused(
      absl::StrCat("forward answers values that are not finite ", Describe(probes)),
      denoiser_.dtype() == at::kHalf
          ? "float16 overflows at 65504: export it in bfloat16 or float32; or look for a division "
            "by zero in it, or for damaged weights"
          : "look for a division by zero or an overflow in it, or for damaged weights");
}

}  // namespace denoise
