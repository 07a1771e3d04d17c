#include "server/model/examination/size_comparison.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/examination/examiner.h"
#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

// Rows that differ in picture, time, label and conditions.
std::vector<Probe> Probes(const ModelInfo& info) {
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  std::vector<Probe> probes;
  probes.reserve(ExampleRows::kRows);
  for (int i = 0; i < ExampleRows::kRows; ++i) {
    probes.push_back({i, std::floor(last_t * i / (ExampleRows::kRows - 1)),
                      info.num_classes > 0 ? i % info.num_classes : 0, static_cast<uint32_t>(i)});
  }
  return probes;
}

}  // namespace

absl::StatusOr<SizeDifference> CompareSizes(const Denoiser& denoiser, const Denoiser& reference,
                                            const ModelInfo& info,
                                            const std::vector<int64_t>& sizes) try {
  const std::vector<Probe> probes = Probes(info);
  const ExampleRows rows(info);
  Examiner of_reference(reference, info, rows, info.integer_time);
  std::vector<float> right;
  int64_t values = 0;
  for (const Probe& probe : probes) {
    const absl::StatusOr<Answer> answer = of_reference.Ask({probe});
    if (!answer.ok()) return answer.status();
    values = answer->values;
    right.insert(right.end(), answer->row(0), answer->row(0) + values);
  }

  Examiner examiner(denoiser, info, rows, info.integer_time,
                    *std::max_element(sizes.begin(), sizes.end()));
  SizeDifference worst;
  std::vector<Probe> batch;
  std::vector<float> expected;
  for (const int64_t size : sizes) {
    batch.clear();
    expected.clear();
    for (int64_t p = 0; p < size; ++p) {
      const auto i = static_cast<int64_t>(p % probes.size());
      batch.push_back(probes[i]);
      expected.insert(expected.end(), right.begin() + i * values, right.begin() + (i + 1) * values);
    }
    const absl::StatusOr<Answer> answer = examiner.Ask(batch);
    if (!answer.ok()) return answer.status();
    if (answer->values != values) {
      return examiner.Refused(
          absl::StrCat("answers ", answer->channels(), " channels, unlike denoiser.pt"),
          "export both from the same module");
    }
    const double difference = DifferenceOf(answer->row(0), expected.data(), size * values);
    if (worst.rows == 0 || difference > worst.difference) worst = {size, difference};
  }
  return worst;
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
