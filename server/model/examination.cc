#include "server/model/examination.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "c10/core/InferenceMode.h"
#include "server/model/batch_inputs.h"
#include "server/model/noise.h"
#include "server/model/torch_error.h"

namespace denoise {
namespace {

// Apart by more than any choice of kernels explains; models that compute in half precision inside
// included.
constexpr double kCoupled = 1e-3;
constexpr double kRepeated = 1e-5;  // what equal calls may differ by
constexpr double kSameTime = 1e-6;  // what float32 and int64 t may differ by
constexpr int kMostRows = 5;

absl::Status Refused(absl::string_view reason, absl::string_view mend) {
  return absl::InvalidArgumentError(absl::StrCat("denoiser.pt: ", reason, ": ", mend));
}

// One row of a call: one of kMostRows fixed noise pictures, time and label.
struct Probe {
  int picture = 0;
  double t = 0;
  int64_t y = 0;
};

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

// What a call answered: contiguous [N, channels, H, W].
struct Answer {
  at::Tensor tensor;
  int64_t values = 0;  // of a row

  const float* row(int64_t i) const { return tensor.const_data_ptr<float>() + i * values; }
  int64_t channels() const { return tensor.size(1); }
};

double RowDifference(const Answer& a, int64_t row_a, const Answer& b, int64_t row_b) {
  return DifferenceOf(a.row(row_a), b.row(row_b), a.values);
}

class Examiner {
 public:
  Examiner(const Denoiser& denoiser, const ModelInfo& info, bool integer_time)
      : denoiser_(denoiser),
        info_(info),
        inputs_(info.shape, denoiser.layout(), integer_time, kMostRows) {
    const c10::InferenceMode inference;
    pictures_ = at::empty({kMostRows, info.shape.values()}, at::kFloat);
    NoiseStream(0).Draw(pictures_);
  }

  absl::StatusOr<at::Tensor> Call(const std::vector<Probe>& probes) {
    for (size_t i = 0; i < probes.size(); ++i) {
      inputs_.Set(i, picture(probes[i].picture), probes[i].t, probes[i].y);
    }
    return inputs_.Run(denoiser_, probes.size());
  }

  // A call whose answer must be of the form that is promised.
  absl::StatusOr<Answer> Ask(const std::vector<Probe>& probes) {
    absl::StatusOr<at::Tensor> tensor = Call(probes);
    if (!tensor.ok()) return Explain(tensor.status(), probes);
    return Check(*std::move(tensor), probes);
  }

 private:
  const float* picture(int i) const {
    return pictures_.const_data_ptr<float>() + i * info_.shape.values();
  }

  // "for 2 rows of [1, 28, 28], t = 0, 999, y = 3, 3"
  std::string Describe(const std::vector<Probe>& probes) const {
    const auto join = [&](auto member) {
      return absl::StrJoin(probes, ", ", [&](std::string* out, const Probe& probe) {
        absl::StrAppend(out, probe.*member);
      });
    };
    const SampleShape& shape = info_.shape;
    return absl::StrCat("for ", probes.size(), probes.size() == 1 ? " row of [" : " rows of [",
                        shape.channels, ", ", shape.height, ", ", shape.width,
                        "], t = ", join(&Probe::t),
                        denoiser_.takes_labels() ? absl::StrCat(", y = ", join(&Probe::y)) : "");
  }

  absl::Status Explain(const absl::Status& status, const std::vector<Probe>& probes) const {
    if (absl::IsResourceExhausted(status)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("denoiser.pt: memory ran out ", Describe(probes)));
    }
    return Refused(absl::StrCat("forward failed ", Describe(probes), " (", status.message(), ")"),
                   "it must take x [N,C,H,W] float32, t [N] and, with classes, y [N] int64, for "
                   "any N, every t of the schedule and every class of model.json");
  }

  absl::StatusOr<Answer> Check(at::Tensor tensor, const std::vector<Probe>& probes) const {
    const SampleShape& shape = info_.shape;
    const auto rows = static_cast<int64_t>(probes.size());
    if (tensor.scalar_type() != at::kFloat) {
      return Refused(absl::StrCat("forward answers ", at::toString(tensor.scalar_type())),
                     "it must answer float32: add .float() to what it returns");
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
    return Refused(absl::StrCat("forward answers values that are not finite ", Describe(probes)),
                   "look for a division by zero or an overflow in it, or for damaged weights");
  }

  const Denoiser& denoiser_;
  const ModelInfo& info_;
  BatchInputs inputs_;
  at::Tensor pictures_;  // [kMostRows, C·H·W]
};

// The examination, test by test; each is OK or the refusal.
class Tests {
 public:
  Tests(Examiner& examiner, const ModelInfo& info)
      : examiner_(examiner),
        last_t_(static_cast<double>(info.config.num_train_timesteps() - 1)),
        middle_t_(std::floor(last_t_ / 2)),
        last_y_(std::max<int64_t>(info.num_classes - 1, 0)),
        info_(info) {}

  absl::Status Repeats() {
    const std::vector<Probe> probes = {{0, middle_t_, 0}, {1, last_t_, last_y_}};
    const auto once = examiner_.Ask(probes);
    if (!once.ok()) return once.status();
    const auto again = examiner_.Ask(probes);
    if (!again.ok()) return again.status();
    if (DifferenceOf(once->row(0), again->row(0), 2 * once->values) <= kRepeated) {
      return absl::OkStatus();
    }
    return Refused("two equal calls gave different answers",
                   "dropout is on, or forward draws random numbers: call eval() on the module "
                   "before tracing or scripting it");
  }

  absl::Status RowsAreIndependent() {
    const Probe row = {0, middle_t_, 0};
    const auto a = examiner_.Ask({row, {1, middle_t_, 0}, {2, middle_t_, 0}});
    if (!a.ok()) return a.status();
    const auto b = examiner_.Ask({{3, middle_t_, 0}, {4, middle_t_, 0}, row});
    if (!b.ok()) return b.status();
    const auto alone = examiner_.Ask({row});
    if (!alone.ok()) return alone.status();
    const double apart = std::max(RowDifference(*a, 0, *b, 2), RowDifference(*a, 0, *alone, 0));
    if (apart <= kCoupled) return absl::OkStatus();
    return Refused(absl::StrCat("a row's answer changes by ", apart,
                                " of its size with the rows beside it in a batch"),
                   "BatchNorm in training mode, or another sum over the batch: call eval() on the "
                   "module before tracing or scripting it");
  }

  absl::Status TimeIsHonoured() {
    const auto mixed = examiner_.Ask({{0, 0, 0}, {0, middle_t_, 0}, {0, last_t_, 0}});
    if (!mixed.ok()) return mixed.status();
    std::vector<Answer> alone;
    for (const double t : {0.0, middle_t_, last_t_}) {
      auto answer = examiner_.Ask({{0, t, 0}});
      if (!answer.ok()) return answer.status();
      alone.push_back(*std::move(answer));
    }
    if (last_t_ > 0 && RowDifference(alone[0], 0, alone[1], 0) == 0 &&
        RowDifference(alone[0], 0, alone[2], 0) == 0) {
      return Refused(absl::StrCat("t is ignored (t = 0, ", middle_t_, " and ", last_t_,
                                  " give the same answer)"),
                     "the timestep was baked in by tracing with a Python number: trace with a "
                     "tensor of shape [N]");
    }
    for (int i = 0; i < 3; ++i) {
      if (RowDifference(*mixed, i, alone[i], 0) <= kCoupled) continue;
      return Refused(
          "t is not honoured row by row (rows with different t in one batch get other "
          "answers than each alone)",
          "forward must use every element of t [N], not only the first or their mean");
    }
    return absl::OkStatus();
  }

  absl::Status LabelsAreHonoured() {
    std::vector<int64_t> labels = {0, last_y_};
    if (info_.null_class.has_value()) labels.push_back(*info_.null_class);
    std::vector<Probe> probes;
    for (const int64_t y : labels) probes.push_back({0, middle_t_, y});
    const auto mixed = examiner_.Ask(probes);
    if (!mixed.ok()) return mixed.status();
    bool changes = false;
    for (size_t i = 0; i < probes.size(); ++i) {
      const auto alone = examiner_.Ask({probes[i]});
      if (!alone.ok()) return alone.status();
      if (RowDifference(*mixed, i, *alone, 0) > kCoupled) {
        return Refused(
            "y is not honoured row by row (rows with different y in one batch get "
            "other answers than each alone)",
            "forward must use every element of y [N], not only the first");
      }
      changes = changes || RowDifference(*mixed, i, *mixed, 0) != 0;
    }
    const bool several =
        std::any_of(labels.begin(), labels.end(), [](int64_t y) { return y != 0; });
    if (changes || !several) return absl::OkStatus();
    return Refused(
        absl::StrCat("y is ignored (y = ", absl::StrJoin(labels, ", "), " give the same answer)"),
        "the label was baked in by tracing with a Python number (trace with a tensor of "
        "shape [N]), or the model has no classes (take num_classes out of model.json)");
  }

 private:
  Examiner& examiner_;
  const double last_t_;
  const double middle_t_;
  const int64_t last_y_;
  const ModelInfo& info_;
};

// Whether t must be int64: where float32 is not taken, or means something else.
absl::StatusOr<bool> NeedsIntegerTime(Examiner& with_float, Examiner& with_integer, double last_t) {
  const std::vector<Probe> probes = {{0, 0, 0}, {1, 1 < last_t ? 1 : last_t, 0}, {2, last_t, 0}};
  const auto of_float = with_float.Call({probes[0]});
  const auto of_integer = with_integer.Call({probes[0]});
  if (!of_float.ok() && !of_integer.ok()) {
    return with_float.Ask({probes[0]}).status();
  }
  if (!of_float.ok()) return true;
  if (!of_integer.ok()) return false;
  const auto a = with_float.Ask(probes);
  if (!a.ok()) return a.status();
  const auto b = with_integer.Ask(probes);
  if (!b.ok()) return b.status();
  return DifferenceOf(a->row(0), b->row(0), 3 * a->values) > kSameTime;
}

}  // namespace

absl::StatusOr<Findings> Examine(const Denoiser& denoiser, const ModelInfo& info) try {
  Examiner with_float(denoiser, info, /*integer_time=*/false);
  Examiner with_integer(denoiser, info, /*integer_time=*/true);
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  const absl::StatusOr<bool> integer_time = NeedsIntegerTime(with_float, with_integer, last_t);
  if (!integer_time.ok()) return integer_time.status();
  Examiner& examiner = *integer_time ? with_integer : with_float;

  Tests tests(examiner, info);
  for (absl::Status (Tests::*test)() :
       {&Tests::Repeats, &Tests::RowsAreIndependent, &Tests::TimeIsHonoured}) {
    if (absl::Status status = (tests.*test)(); !status.ok()) return status;
  }
  if (denoiser.takes_labels()) {
    if (absl::Status status = tests.LabelsAreHonoured(); !status.ok()) return status;
  }
  const auto largest = examiner.Ask(std::vector<Probe>(kMostRows));
  if (!largest.ok()) return largest.status();

  Findings findings;
  findings.integer_time = *integer_time;
  findings.learned_variance = largest->channels() == 2 * info.shape.channels;
  const bool meant =
      info.config.variance == Variance::kLearned || info.config.variance == Variance::kLearnedRange;
  if (meant && !findings.learned_variance) {
    return Refused(absl::StrCat("forward answers ", info.shape.channels,
                                " channels, where scheduler_config.json says variance_type ",
                                std::string(Name(*info.config.variance)), ", which needs ",
                                2 * info.shape.channels),
                   "correct variance_type, or export the module with its variance channels");
  }
  return findings;
} catch (...) {
  return CurrentExceptionStatus();
}

absl::StatusOr<double> Difference(const Denoiser& a, const Denoiser& b, const ModelInfo& info,
                                  bool integer_time) try {
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  std::vector<Probe> probes;
  for (int i = 0; i < kMostRows; ++i) {
    probes.push_back({i, std::floor(last_t * i / (kMostRows - 1)), 0});
  }
  Examiner of_a(a, info, integer_time), of_b(b, info, integer_time);
  const auto answer_a = of_a.Ask(probes);
  if (!answer_a.ok()) return answer_a.status();
  const auto answer_b = of_b.Ask(probes);
  if (!answer_b.ok()) return answer_b.status();
  return DifferenceOf(answer_a->row(0), answer_b->row(0), kMostRows * answer_a->values);
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
