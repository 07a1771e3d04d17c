#include "server/model/examination/warm_up.h"

#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {

absl::Status FillAlike(const ModelInfo& info, int64_t rows, BatchInputs* inputs) {
  const ExampleRows examples(info);
  if (absl::Status status = inputs->Begin(rows, examples.conditions()); !status.ok()) return status;
  inputs->Set(0, examples.picture(0), 0, {.conditions = examples.conditions()});
  inputs->Pad(1, rows);
  return absl::OkStatus();
}

absl::Status WarmUp(const Denoiser& denoiser, const ModelInfo& info, const Carrier& carrier) try {
  constexpr int kCalls = 3;
  const int64_t most = info.batch_sizes.back();
  BatchInputs inputs(info, denoiser, info.integer_time, most);
  if (absl::Status status = FillAlike(info, most, &inputs); !status.ok()) return status;
  for (const int64_t rows : info.batch_sizes) {
    for (int call = 0; call < kCalls; ++call) {
      const absl::Status status =
          Carry(carrier, [&] { return inputs.Run(denoiser, rows).status(); });
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
