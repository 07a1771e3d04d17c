#include "server/model/examination/examination.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/model/examination/examiner.h"
#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

constexpr double kRepeated = 1e-5;  // what equal calls may differ by
constexpr double kSameTime = 1e-6;  // what float32 and int64 t may differ by

// Apart by more than any choice of kernels explains; models that compute in half precision inside
// included.
double CoupledAt(at::ScalarType dtype) { return std::max(1e-3, 2 * RoundingOf(dtype)); }

std::string Apart(double difference) {
  return absl::StrCat("apart by ", difference, " of its size");
}

double RowDifference(const Answer& a, int64_t row_a, const Answer& b, int64_t row_b) {
  return DifferenceOf(a.row(row_a), b.row(row_b), a.values);
}

// What is tried with each test: an answer is the result, an error the refusal.
class Tests {
 public:
  Tests(Examiner& examiner, const ModelInfo& info, double coupled)
      : examiner_(examiner),
        last_t_(static_cast<double>(info.config.num_train_timesteps() - 1)),
        middle_t_(std::floor(last_t_ / 2)),
        last_y_(std::max<int64_t>(info.num_classes - 1, 0)),
        coupled_(coupled),
        info_(info) {}

  absl::StatusOr<std::string> Repeats() {
    const std::vector<Probe> probes = {{0, middle_t_, 0}, {1, last_t_, last_y_}};
    const auto once = examiner_.Ask(probes);
    if (!once.ok()) return once.status();
    const auto again = examiner_.Ask(probes);
    if (!again.ok()) return again.status();
    const double apart = DifferenceOf(once->row(0), again->row(0), 2 * once->values);
    if (apart <= kRepeated) return apart == 0 ? "equal answers, bit for bit" : Apart(apart);
    return examiner_.Refused(
        "two equal calls gave different answers",
        "dropout is on, or forward draws random numbers: call eval() on the module "
        "before tracing or scripting it");
  }

  absl::StatusOr<std::string> RowsAreIndependent() {
    const Probe row = {0, middle_t_, 0};
    const auto a = examiner_.Ask({row, {1, middle_t_, 0}, {2, middle_t_, 0}});
    if (!a.ok()) return a.status();
    const auto b = examiner_.Ask({{3, middle_t_, 0}, {4, middle_t_, 0}, row});
    if (!b.ok()) return b.status();
    const auto alone = examiner_.Ask({row});
    if (!alone.ok()) return alone.status();
    const double apart = std::max(RowDifference(*a, 0, *b, 2), RowDifference(*a, 0, *alone, 0));
    if (apart <= coupled_) return absl::StrCat("independent (", Apart(apart), ")");
    return examiner_.Refused(
        absl::StrCat("a row's answer changes by ", apart,
                     " of its size with the rows beside it in a batch"),
        "BatchNorm in training mode, or another sum over the batch: call eval() on the "
        "module before tracing or scripting it");
  }

  absl::StatusOr<std::string> TimeIsHonoured() {
    const std::vector<Probe> probes = {{0, 0, 0}, {0, middle_t_, 0}, {0, last_t_, 0}};
    const auto mixed = examiner_.Ask(probes);
    if (!mixed.ok()) return mixed.status();
    const auto alone = AskEach(probes);
    if (!alone.ok()) return alone.status();
    if (last_t_ > 0 && !Differ(*alone)) {
      return examiner_.Refused(
          absl::StrCat("t is ignored (t = 0, ", middle_t_, " and ", last_t_,
                       " give the same answer)"),
          "the timestep was baked in by tracing with a Python number: trace with a "
          "tensor of shape [N]");
    }
    if (Apart(*mixed, *alone) > coupled_) {
      return examiner_.Refused(
          "t is not honoured row by row (rows with different t in one batch get other "
          "answers than each alone)",
          "forward must use every element of t [N], not only the first or their mean");
    }
    return kHonoured;
  }

  absl::StatusOr<std::string> LabelsAreHonoured() {
    std::vector<int64_t> labels = {0, last_y_};
    if (info_.null_class.has_value()) labels.push_back(*info_.null_class);
    std::vector<Probe> probes;
    for (const int64_t y : labels) probes.push_back({0, middle_t_, y});
    const auto mixed = examiner_.Ask(probes);
    if (!mixed.ok()) return mixed.status();
    const auto alone = AskEach(probes);
    if (!alone.ok()) return alone.status();
    if (Apart(*mixed, *alone) > coupled_) {
      return examiner_.Refused(
          "y is not honoured row by row (rows with different y in one batch get "
          "other answers than each alone)",
          "forward must use every element of y [N], not only the first");
    }
    const bool several =
        std::any_of(labels.begin(), labels.end(), [](int64_t y) { return y != 0; });
    if (Differ(*alone) || !several) return kHonoured;
    return examiner_.Refused(
        absl::StrCat("y is ignored (y = ", absl::StrJoin(labels, ", "), " give the same answer)"),
        "the label was baked in by tracing with a Python number (trace with a tensor of "
        "shape [N]), or the model has no classes (take num_classes out of model.json)");
  }

  // All conditions at once, because they need not make sense one without another.
  absl::StatusOr<std::string> ConditionsAreHonoured() {
    std::vector<Probe> probes;
    for (uint32_t i = 0; i < 3; ++i) probes.push_back({0, middle_t_, 0, i});
    const auto mixed = examiner_.Ask(probes);
    if (!mixed.ok()) return mixed.status();
    const auto alone = AskEach(probes);
    if (!alone.ok()) return alone.status();
    if (Apart(*mixed, *alone) > coupled_) {
      return examiner_.Refused(
          absl::StrCat(ConditionNames(),
                       ": not honoured row by row (rows with different conditions "
                       "in one batch get other answers than each alone)"),
          "forward must use every row of its conditions [N, …] for the row of x that it "
          "belongs to");
    }
    if (Differ(*alone)) return kHonoured;
    const bool has_float =
        std::any_of(info_.inputs.begin(), info_.inputs.end(), [](const ModelInput& input) {
          return input.kind == ModelInput::Kind::kCondition && input.type == ElementType::kFloat32;
        });
    // Of whole numbers and masks only few values could be tried.
    if (!has_float) return "no difference made by the few values that were tried";
    return examiner_.Refused(
        absl::StrCat(ConditionNames(), ": ignored (several values give the same answer)"),
        "the condition was baked in by tracing, or forward does not use it: trace with "
        "it as an argument, or take it out of model.json's inputs");
  }

 private:
  static constexpr char kHonoured[] = "honoured row by row";

  absl::StatusOr<std::vector<Answer>> AskEach(const std::vector<Probe>& probes) {
    std::vector<Answer> answers;
    for (const Probe& probe : probes) {
      auto answer = examiner_.Ask({probe});
      if (!answer.ok()) return answer.status();
      answers.push_back(*std::move(answer));
    }
    return answers;
  }

  // Whether any differs from the first.
  static bool Differ(const std::vector<Answer>& answers) {
    return std::any_of(answers.begin(), answers.end(), [&](const Answer& answer) {
      return RowDifference(answer, 0, answers[0], 0) != 0;
    });
  }

  // The worst that a row of `mixed` differs by from that row alone.
  static double Apart(const Answer& mixed, const std::vector<Answer>& alone) {
    double apart = 0;
    for (size_t i = 0; i < alone.size(); ++i) {
      apart = std::max(apart, RowDifference(mixed, static_cast<int64_t>(i), alone[i], 0));
    }
    return apart;
  }
  static std::string Apart(double difference) { return denoise::Apart(difference); }

  std::string ConditionNames() const {
    std::vector<std::string> names;
    for (const ModelInput& input : info_.inputs) {
      if (input.kind == ModelInput::Kind::kCondition) names.push_back(input.name);
    }
    return absl::StrJoin(names, ", ");
  }

  Examiner& examiner_;
  const double last_t_;
  const double middle_t_;
  const int64_t last_y_;
  const double coupled_;
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

absl::StatusOr<std::string> LooksAtVariance(Examiner& examiner, const ModelInfo& info,
                                            bool* learned) {
  const auto largest = examiner.Ask(std::vector<Probe>(ExampleRows::kRows));
  if (!largest.ok()) return largest.status();
  *learned = largest->channels() == 2 * info.shape.channels;
  const std::optional<Variance> variance = info.config.variance;
  const bool meant = variance == Variance::kLearned || variance == Variance::kLearnedRange;
  if (meant && !*learned) {
    return examiner.Refused(
        absl::StrCat("forward answers ", info.shape.channels,
                     " channels, where scheduler_config.json says variance_type ",
                     std::string(Name(*variance)), ", which needs ", 2 * info.shape.channels),
        "correct variance_type, or export the module with its variance channels");
  }
  std::string result =
      absl::StrCat(largest->channels(), largest->channels() == 1 ? " channel" : " channels");
  if (!*learned) return result;
  if (meant || !variance.has_value()) return result + ", the second half for the variance";
  return absl::StrCat(result, ", the second half left out, as variance_type is ",
                      std::string(Name(*variance)),
                      ": correct it if the model has learned its variance");
}

bool HasOpenExtents(const ModelInfo& info) {
  return std::any_of(info.inputs.begin(), info.inputs.end(), [](const ModelInput& input) {
    return std::count(input.shape.begin(), input.shape.end(), -1) > 0;
  });
}

}  // namespace

double RoundingOf(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return 4e-3;  // 4 units in the last place
    case at::kBFloat16:
      return 3e-2;
    default:
      return 1e-5;
  }
}

absl::StatusOr<Findings> Examine(const Denoiser& denoiser, const ModelInfo& info,
                                 std::vector<TestResult>* results) try {
  const auto add = [results](const char* test, const absl::StatusOr<std::string>& result) {
    if (!result.ok()) return result.status();
    results->push_back({test, *result});
    return absl::OkStatus();
  };
  const std::string precision = PrecisionName(denoiser.dtype());
  results->push_back({"weights", precision == "float32"
                                     ? precision
                                     : absl::StrCat(precision, "; states stay float32")});

  const ExampleRows rows(info);
  Examiner with_float(denoiser, info, rows, /*integer_time=*/false);
  Examiner with_integer(denoiser, info, rows, /*integer_time=*/true);
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  const absl::StatusOr<bool> integer_time = NeedsIntegerTime(with_float, with_integer, last_t);
  if (!integer_time.ok()) return integer_time.status();
  results->push_back({"type of t", *integer_time ? "int64 only, so no sampler with fractional times"
                                                 : "float32 and int64 alike"});
  Findings findings;
  findings.integer_time = *integer_time;

  Examiner& examiner = *integer_time ? with_integer : with_float;
  const double coupled = CoupledAt(denoiser.dtype());
  Tests tests(examiner, info, coupled);
  if (auto status = add("equal calls", tests.Repeats()); !status.ok()) return status;
  if (auto status = add("rows of a batch", tests.RowsAreIndependent()); !status.ok()) {
    return status;
  }
  if (auto status = add("t", tests.TimeIsHonoured()); !status.ok()) return status;
  if (info.num_classes > 0) {
    if (auto status = add("y", tests.LabelsAreHonoured()); !status.ok()) return status;
  }
  if (rows.conditions() != nullptr) {
    if (auto status = add("conditions", tests.ConditionsAreHonoured()); !status.ok()) {
      return status;
    }
  }
  if (HasOpenExtents(info)) {
    const ExampleRows others(info, ExampleRows::kOpenExtents[1]);
    Examiner with_others(denoiser, info, others, *integer_time);
    const auto result = Tests(with_others, info, coupled).ConditionsAreHonoured();
    if (auto status = add("of another extent", result); !status.ok()) return status;
  }
  const auto variance = LooksAtVariance(examiner, info, &findings.learned_variance);
  if (auto status = add("answer", variance); !status.ok()) return status;
  return findings;
} catch (...) {
  return CurrentExceptionStatus();
}

absl::StatusOr<double> Difference(const Denoiser& a, const Denoiser& b, const ModelInfo& info,
                                  bool integer_time) try {
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  std::vector<Probe> probes;
  for (int i = 0; i < ExampleRows::kRows; ++i) {
    probes.push_back(
        {i, std::floor(last_t * i / (ExampleRows::kRows - 1)), 0, static_cast<uint32_t>(i)});
  }
  const ExampleRows rows(info);
  Examiner of_a(a, info, rows, integer_time), of_b(b, info, rows, integer_time);
  const auto answer_a = of_a.Ask(probes);
  if (!answer_a.ok()) return answer_a.status();
  const auto answer_b = of_b.Ask(probes);
  if (!answer_b.ok()) return answer_b.status();
  return DifferenceOf(answer_a->row(0), answer_b->row(0), ExampleRows::kRows * answer_a->values);
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
