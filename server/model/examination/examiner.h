// Asks a denoiser about a few rows.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_EXAMINER_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_EXAMINER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/batch_inputs.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/examination/example_rows.h"

namespace denoise {

// max|a-b| / max|b| of n values each. Infinite where a value is not finite.
double DifferenceOf(const float* a, const float* b, int64_t n);

// One row of a call: which of the example rows' pictures and conditions, time and label.
struct Probe {
  int picture = 0;
  double t = 0;
  int64_t y = 0;
  uint32_t condition = 0;
};

// What a call answered: contiguous float32 [N, channels, H, W].
struct Answer {
  at::Tensor tensor;
  int64_t values = 0;  // of a row

  const float* row(int64_t i) const { return tensor.const_data_ptr<float>() + i * values; }
  int64_t channels() const { return tensor.size(1); }
};

// Keeps references to what it is made with. Not thread-safe.
class Examiner {
 public:
  // Makes tensors, and may throw as LibTorch does.
  Examiner(const Denoiser& denoiser, const ModelInfo& info, const ExampleRows& rows,
           bool integer_time, int64_t max_rows = ExampleRows::kRows);

  // Calls the denoiser with these rows; whatever it answers.
  absl::StatusOr<at::Tensor> Call(const std::vector<Probe>& probes);

  // A call whose answer must be of the form that is promised, and finite: otherwise
  // INVALID_ARGUMENT, as Refused makes it, or RESOURCE_EXHAUSTED where memory ran out.
  absl::StatusOr<Answer> Ask(const std::vector<Probe>& probes);

  // "denoiser.pt: REASON: FIX", INVALID_ARGUMENT.
  absl::Status Refused(absl::string_view reason, absl::string_view fix) const;

 private:
  std::string Describe(const std::vector<Probe>& probes) const;
  absl::Status Explain(const absl::Status& status, const std::vector<Probe>& probes) const;
  absl::StatusOr<Answer> Check(const at::Tensor& tensor, const std::vector<Probe>& probes) const;

  const Denoiser& denoiser_;
  const ModelInfo& info_;
  const ExampleRows& rows_;
  BatchInputs inputs_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_EXAMINER_H_
