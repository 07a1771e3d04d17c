#include "server/model/examination/batch_invariance.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "c10/core/InferenceMode.h"
#include "server/model/examination/batch_sizes.h"
#include "server/model/examination/examiner.h"
#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

constexpr int kRows = ExampleRows::kRows;

// The bits that each of the example rows was answered with.
using Signature = std::vector<size_t>;

// The rows that are asked about: each with a picture, time, label and conditions of its own.
std::vector<Probe> ProbesOf(const ModelInfo& info) {
  const auto last_t = static_cast<double>(info.config.num_train_timesteps() - 1);
  const int64_t classes = info.num_classes + (info.null_class.has_value() ? 1 : 0);
  std::vector<Probe> probes;
  for (int i = 0; i < kRows; ++i) {
    Probe probe;
    probe.picture = i;
    probe.t = std::floor(last_t * i / (kRows - 1));
    if (classes > 0) probe.y = i % classes < info.num_classes ? i % classes : *info.null_class;
    probe.condition = static_cast<uint32_t>(i);
    probes.push_back(probe);
  }
  return probes;
}

// Position p of a batch has the row (first + stride·p) mod kRows. Every row comes to every
// position; the last ones are other neighbours, copies of one row as padding is, and the first
// again.
struct Arrangement {
  int first = 0;
  int stride = 1;
};
constexpr Arrangement kArrangements[] = {{0, 1}, {1, 1}, {2, 1}, {3, 1},
                                         {4, 1}, {0, 2}, {0, 0}, {0, 1}};

// Nothing where a row's bits depend on where it is and with whom.
absl::StatusOr<std::optional<Signature>> SignatureOf(Examiner& examiner,
                                                     const std::vector<Probe>& probes,
                                                     int64_t size) {
  std::vector<std::optional<size_t>> seen(kRows);
  for (const Arrangement& arrangement : kArrangements) {
    std::vector<Probe> batch;
    for (int64_t p = 0; p < size; ++p) {
      batch.push_back(probes[(arrangement.first + arrangement.stride * p) % kRows]);
    }
    const absl::StatusOr<Answer> answer = examiner.Ask(batch);
    if (!answer.ok()) return answer.status();
    for (int64_t p = 0; p < size; ++p) {
      const std::string_view bytes(reinterpret_cast<const char*>(answer->row(p)),
                                   answer->values * sizeof(float));
      const size_t bits = std::hash<std::string_view>()(bytes);
      std::optional<size_t>& before = seen[batch[p].picture];
      if (before.has_value() && *before != bits) return std::optional<Signature>();
      before = bits;
    }
  }
  Signature signature;
  for (const std::optional<size_t>& bits : seen) signature.push_back(*bits);
  return std::optional(std::move(signature));
}

}  // namespace

absl::StatusOr<std::vector<int>> FindAgreement(const Denoiser& denoiser, const ModelInfo& info,
                                               const std::vector<int64_t>& sizes) try {
  const std::vector<Probe> probes = ProbesOf(info);
  const bool open = std::any_of(info.inputs.begin(), info.inputs.end(), [](const auto& input) {
    return std::count(input.shape.begin(), input.shape.end(), -1) > 0;
  });
  // Over all extents that are tried, one signature behind another.
  std::vector<std::optional<Signature>> signatures(sizes.size(), Signature());
  for (const int64_t extent : ExampleRows::kOpenExtents) {
    const ExampleRows rows(info, extent);
    Examiner examiner(denoiser, info, rows, info.integer_time,
                      *std::max_element(sizes.begin(), sizes.end()));
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (!signatures[i].has_value()) continue;
      const auto signature = SignatureOf(examiner, probes, sizes[i]);
      if (!signature.ok()) return signature.status();
      if (signature->has_value()) {
        signatures[i]->insert(signatures[i]->end(), (*signature)->begin(), (*signature)->end());
      } else {
        signatures[i].reset();
      }
    }
    if (!open) break;
  }

  std::map<Signature, int> numbers;
  std::vector<int> agreement;
  agreement.reserve(signatures.size());
  for (const std::optional<Signature>& signature : signatures) {
    agreement.push_back(
        signature.has_value() ? numbers.emplace(*signature, numbers.size()).first->second : -1);
  }
  return agreement;
} catch (...) {
  return CurrentExceptionStatus();
}

std::vector<BatchTime> ChooseAgreement(const std::vector<BatchTime>& times,
                                       const std::vector<int>& agreement, bool may_be_guided) {
  struct Choice {
    std::vector<BatchTime> times;
    int counted = 0;  // sizes up to kSurelyMeasured
  };
  std::map<int, Choice> choices;
  for (size_t i = 0; i < times.size(); ++i) {
    if (agreement[i] < 0) continue;
    Choice& choice = choices[agreement[i]];
    choice.times.push_back(times[i]);
    if (times[i].rows <= kSurelyMeasured) ++choice.counted;
  }
  const auto rank = [](const Choice& choice) {
    return std::pair(choice.counted, choice.times.back().rows);
  };
  const Choice* best = nullptr;
  for (const auto& [number, choice] : choices) {
    if (may_be_guided && choice.times.back().rows < 2) continue;
    if (best == nullptr || rank(choice) > rank(*best)) best = &choice;
  }
  return best == nullptr ? std::vector<BatchTime>() : best->times;
}

}  // namespace denoise
