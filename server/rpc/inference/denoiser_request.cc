#include "server/rpc/inference/denoiser_request.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/inference/api_fields.h"
#include "server/rpc/messages/conditions_proto.h"
#include "server/rpc/messages/guidance_proto.h"
#include "server/rpc/messages/tensor_proto.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

constexpr char kX[] = "x";
constexpr char kTimestep[] = "timestep";
// Of a message, besides its values.
constexpr uint64_t kMessageOverhead = 1024;

absl::Status Missing(absl::string_view name, absl::string_view wanted) {
  return FieldError(absl::StrCat("inputs[", Quote(name), "]"),
                    absl::StrCat("missing; give ", wanted));
}

// [N], each a time that the model knows.
absl::StatusOr<std::vector<double>> TimesOf(const InferTensor& tensor, const ModelInfo& model,
                                            uint32_t n) {
  absl::StatusOr<std::vector<double>> times = Floats(tensor);
  if (!times.ok()) return times.status();
  if (times->size() != 1 && times->size() != n) {
    return FieldError(absl::StrCat(tensor.field(), ".shape"),
                      absl::StrCat(ShapeText(tensor.shape), " is not [1] or [", n, "]"));
  }
  // A flow model is called at T σ, σ at most 1.
  const auto last =
      static_cast<double>(model.config.num_train_timesteps() - (model.config.flow ? 0 : 1));
  for (size_t i = 0; i < times->size(); ++i) {
    const double time = (*times)[i];
    if (!(time >= 0 && time <= last)) {
      return FieldError(tensor.field(), absl::StrCat(time, " (value ", i, ") is not in 0..", last));
    }
    if (model.integer_time && time != std::floor(time)) {
      return FieldError(tensor.field(), absl::StrCat(time, " (value ", i,
                                                     ") is no whole number, "
                                                     "which ",
                                                     Quote(model.name), " needs"));
    }
  }
  if (times->size() != n) times->assign(n, (*times)[0]);
  return times;
}

// A row for each time that there is: the denoiser's call and nothing after it.
void SetRows(const std::vector<double>& times, Request* request) {
  auto table = std::make_shared<Table>();
  absl::flat_hash_map<double, uint32_t> row_of;
  for (const double time : times) {
    const auto [it, is_new] = row_of.emplace(time, table->rows.size());
    if (is_new) {
      Row& row = table->rows.emplace_back();
      row.timestep = time;
      row.w[kColX][kColX] = 1;
      row.step = 1;
      row.state_timestep = time;
    }
    request->only_row.push_back(it->second);
  }
  table->total_steps = 1;
  table->initial_timestep = times[0];
  request->table = std::move(table);
}

absl::Status CheckAnswerSize(const ModelInfo& model, uint32_t n, const Limits& limits) {
  const auto values = static_cast<uint64_t>(model.answer_shape().values());
  const uint64_t bytes = n * values * sizeof(float) + kMessageOverhead;
  if (bytes <= limits.max_message_bytes) return absl::OkStatus();
  return FieldError(
      "inputs[\"x\"].shape",
      absl::StrCat("the answer to ", n, " samples would have ", bytes, " bytes, more than the ",
                   limits.max_message_bytes, " of a message; send fewer"));
}

}  // namespace

absl::StatusOr<Request> MakeDenoiserRequest(const InferModel& model,
                                            std::vector<InferTensor> inputs, const Limits& limits) {
  const ModelInfo& info = *model.info;
  Request request;
  request.model = model.info;

  std::optional<InferTensor> x = TakeInput(kX, &inputs);
  if (!x.has_value()) return Missing(kX, "[N, C, H, W] FP32");
  const std::string field = x->field();
  const absl::StatusOr<v1::Tensor> samples = ToTensor(*std::move(x), InferType::kFp32);
  if (!samples.ok()) return samples.status();
  SamplesSpec spec;
  spec.shape = info.shape;
  spec.max_samples = limits.max_samples;
  spec.min = std::numeric_limits<float>::lowest();
  spec.max = std::numeric_limits<float>::max();
  const absl::StatusOr<uint32_t> n = CheckSamples(*samples, spec, field);
  if (!n.ok()) return n.status();
  request.num_samples = *n;
  if (absl::Status status = CheckAnswerSize(info, *n, limits); !status.ok()) return status;

  const std::optional<InferTensor> timestep = TakeInput(kTimestep, &inputs);
  if (!timestep.has_value()) return Missing(kTimestep, "[1] or [N], FP32 or INT64");
  const absl::StatusOr<std::vector<double>> times = TimesOf(*timestep, info, *n);
  if (!times.ok()) return times.status();
  SetRows(*times, &request);

  LabelList labels;
  if (const auto given = TakeInput(LabelName(info, model.kind), &inputs)) {
    const absl::StatusOr<std::vector<int64_t>> values = Integers(*given);
    if (!values.ok()) return values.status();
    labels.Assign(values->begin(), values->end());
  }
  absl::StatusOr<std::vector<int64_t>> spread = LabelsOf(labels, info, *n);
  if (!spread.ok()) return InTermsOfInputs(spread.status(), model);
  request.labels = *std::move(spread);

  const absl::StatusOr<ConditionMap> given = TakeConditions(model, &inputs);
  if (!given.ok()) return given.status();
  absl::Status status = CheckConditions(*given, info, *n, limits.max_message_bytes);
  if (!status.ok()) return InTermsOfInputs(status, model);
  Conditions conditions = MakeConditions(*given, info);
  if (!conditions.empty()) {
    request.conditions = std::make_shared<const Conditions>(std::move(conditions));
  }
  request.start = FloatsOf(*samples);
  return request;
}

}  // namespace denoise
