// What tests of the executor share.
#ifndef DENOISE_TESTS_UNIT_MODEL_CHAIN_EXECUTOR_FIXTURE_H_
#define DENOISE_TESTS_UNIT_MODEL_CHAIN_EXECUTOR_FIXTURE_H_

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/executor.h"
#include "tests/unit/model/served_test_model.h"

namespace denoise {

// A served model, one executor of it, and what tests do with chains.
class Fixture {
 public:
  explicit Fixture(const char* name, const LoadOptions& options = {.batch_sizes = {1, 2, 4, 8}}) {
    auto model = ServeTestModel(name, options);
    if (!model.ok()) {
      ADD_FAILURE() << model.status();
      return;
    }
    served = *model;
    auto made = served->MakeExecutor();
    if (made.ok()) executor = *std::move(made);
    values = served->info()->shape.values();
  }

  SlotId Start(std::vector<float> x, int registers = 1) {
    ChainStart start;
    start.registers = registers;
    start.x = x;
    const auto slot = executor->Start(start);
    EXPECT_TRUE(slot.ok());
    return slot.value_or(-1);
  }
  // A chain whose x is `value` everywhere.
  SlotId StartAt(float value) { return Start(std::vector<float>(values, value)); }

  std::vector<float> Read(SlotId slot) const {
    std::vector<float> x(values);
    executor->Read(slot, x.data());
    return x;
  }

  absl::Status Execute(const std::vector<RowTask>& tasks, int64_t padded_rows) {
    finite.fill(false);
    return executor->Execute(tasks, padded_rows, absl::MakeSpan(finite.data(), tasks.size()));
  }

  std::shared_ptr<ServedModel> served;
  std::unique_ptr<Executor> executor;
  int64_t values = 0;
  std::array<bool, 8> finite;
};

// What a model with latents [2, 3, 4] makes of two of them, all 0.5 and all -1, in one call.
inline std::vector<float> DecodedBy(Executor& executor) {
  const std::vector<float> first(24, 0.5f), second(24, -1.f);
  const size_t values = executor.model().decoder->format.shape.values();
  std::vector<float> decoded(2 * values);
  bool finite[2] = {false, false};
  const DecodeTask tasks[] = {{first.data(), decoded.data()},
                              {second.data(), decoded.data() + values}};
  const absl::Status status = executor.Decode(tasks, absl::MakeSpan(finite));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(finite[0] && finite[1]);
  return decoded;
}

// A row that leaves the denoiser's answer as x.
inline Row AnswerRow(double t) {
  Row row;
  row.timestep = t;
  row.p = 2;
  row.q = 1;
  row.w[0][kColOut] = 1;
  return row;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_MODEL_CHAIN_EXECUTOR_FIXTURE_H_
