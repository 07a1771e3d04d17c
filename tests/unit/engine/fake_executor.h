// An executor without LibTorch: its denoiser is a formula, and tests decide when a call returns and
// how.
#ifndef DENOISE_TESTS_UNIT_ENGINE_FAKE_EXECUTOR_H_
#define DENOISE_TESTS_UNIT_ENGINE_FAKE_EXECUTOR_H_

#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "server/engine/executor.h"

namespace denoise {

inline ModelInfo FakeModel() {
  ModelInfo model;
  model.name = "fake";
  model.shape = {1, 2, 2};
  model.schedule = NoiseSchedule(std::vector<double>(50, 0.1));
  model.batch_sizes = {1, 2, 4, 8};
  model.decoder = DecoderInfo{.sha256 = "", .format = {{3, 2, 2}, 0, 1}, .max_rows = 4};
  return model;
}

class FakeExecutor : public Executor {
 public:
  // Called before a batch runs, on the engine's thread; may block; an error is the batch's.
  using Hook = std::function<absl::Status(absl::Span<const RowTask>)>;

  // The same for what is to be decoded.
  using DecodeHook = std::function<absl::Status(absl::Span<const DecodeTask>)>;

  explicit FakeExecutor(Hook hook = nullptr, std::atomic<int>* live_slots = nullptr,
                        DecodeHook decode_hook = nullptr)
      : model_(FakeModel()),
        hook_(std::move(hook)),
        live_slots_(live_slots),
        decode_hook_(std::move(decode_hook)) {}

  const ModelInfo& model() const override { return model_; }

  absl::StatusOr<SlotId> Start(const ChainStart& start) override {
    Slot slot;
    slot.seed = start.seed;
    slot.x.assign(model_.shape.values(), 0);
    for (size_t i = 0; i < slot.x.size(); ++i) {
      slot.x[i] = start.scale * (start.x.empty() ? Noise(start.seed, i) : start.x[i]);
      if (!start.image.empty()) slot.x[i] += start.image_scale * start.image[i];
    }
    return Keep(std::move(slot));
  }
  void Free(SlotId slot) override {
    slots_[slot].used = false;
    if (live_slots_) --*live_slots_;
  }
  std::unique_ptr<ChainState> Extract(SlotId slot) override {
    auto moved = std::make_unique<MovedSlot>();
    moved->slot = slots_[slot];
    Free(slot);
    return moved;
  }
  absl::StatusOr<SlotId> Adopt(std::unique_ptr<ChainState> state) override {
    return Keep(std::move(static_cast<MovedSlot&>(*state).slot));
  }
  void Read(SlotId slot, float* x) override {
    std::copy(slots_[slot].x.begin(), slots_[slot].x.end(), x);
  }

  absl::Status Execute(absl::Span<const RowTask> tasks, int64_t padded_rows,
                       absl::Span<bool> finite) override {
    if (hook_) {
      if (absl::Status status = hook_(tasks); !status.ok()) return status;
    }
    if (!TermsInOrder(tasks)) return absl::InternalError("terms out of order");
    for (size_t i = 0; i < tasks.size(); ++i) {
      const RowTask& task = tasks[i];
      std::vector<float>& x = slots_[task.slot].x;
      finite[i] = true;
      if (task.term != nullptr) {
        ++slots_[task.slot].terms_done;
        *task.term_values =
            Values(x[0], slots_[task.slot].seed, task.term_index, task.row->timestep, task.label);
        finite[i] = std::isfinite(task.term_values->nats);
        continue;
      }
      for (size_t j = 0; j < x.size(); ++j) {
        const double out = Denoise(x[j], task.row->timestep, task.label);
        if (task.answer_out) task.answer_out[j] = out;
        const double x0 = task.row->p * x[j] + task.row->q * out;
        x[j] = task.row->w[0][kColX] * x[j] + task.row->w[0][kColX0] * x0;
        finite[i] = finite[i] && std::isfinite(x[j]);
        if (task.x_out) task.x_out[j] = x[j];
        if (task.x0_out) task.x0_out[j] = x0;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Decode(absl::Span<const DecodeTask> tasks, absl::Span<bool> finite) override {
    if (decode_hook_) {
      if (absl::Status status = decode_hook_(tasks); !status.ok()) return status;
    }
    for (size_t i = 0; i < tasks.size(); ++i) {
      const std::vector<float> decoded =
          Decoded({tasks[i].latents, tasks[i].latents + model_.shape.values()});
      finite[i] = std::isfinite(decoded[0]);
      std::copy(decoded.begin(), decoded.end(), tasks[i].out);
    }
    return absl::OkStatus();
  }

  // What cannot be decoded to something finite.
  static constexpr float kUndecodable = 12345;
  static std::vector<float> Decoded(const std::vector<float>& latents) {
    std::vector<float> decoded;
    for (size_t i = 0; i < 3 * latents.size(); ++i) {
      decoded.push_back(2 * latents[i % latents.size()] + static_cast<float>(i));
    }
    if (latents[0] == kUndecodable) decoded[0] = NAN;
    return decoded;
  }

  static float Noise(uint64_t seed, size_t i) { return std::sin(1.0 + seed * 7.0 + i); }
  static double Denoise(double x, double t, int64_t label) {
    return 0.5 * x + 0.01 * t + 0.1 * label;
  }

  // Of the term `index` at time t for an x_0 that begins with `x_0`.
  static TermValues Values(float x_0, uint64_t seed, size_t index, double t, int64_t label) {
    const double out = Denoise(x_0 + Noise(seed, index), t, label);
    return {.nats = out, .eps_mse = out * out, .x_0_mse = x_0 + t};
  }

  // What a chain must come to, computed by itself.
  static std::vector<float> Expected(const Table& table, uint64_t seed, int64_t label) {
    FakeExecutor alone;
    ChainStart start;
    start.seed = seed;
    RowTask task;
    task.slot = *alone.Start(start);
    task.label = label;
    bool finite;
    for (const Row& row : table.rows) {
      task.row = &row;
      (void)alone.Execute({&task, 1}, 1, {&finite, 1});
    }
    return alone.slots_[task.slot].x;
  }

 private:
  struct Slot {
    bool used = false;
    uint64_t seed = 0;
    size_t terms_done = 0;
    std::vector<float> x;
  };
  struct MovedSlot : ChainState {
    Slot slot;
  };
  SlotId Keep(Slot slot) {
    SlotId id = 0;
    while (id < static_cast<SlotId>(slots_.size()) && slots_[id].used) ++id;
    if (id == static_cast<SlotId>(slots_.size())) slots_.emplace_back();
    slot.used = true;
    slots_[id] = std::move(slot);
    if (live_slots_) ++*live_slots_;
    return id;
  }
  // Whether each term is its chain's next: its noise would be another's.
  bool TermsInOrder(absl::Span<const RowTask> tasks) const {
    std::map<SlotId, size_t> terms;
    for (const RowTask& task : tasks) {
      if (task.term == nullptr) continue;
      if (task.term_index != slots_[task.slot].terms_done + terms[task.slot]++) return false;
    }
    return true;
  }

  const ModelInfo model_;
  const Hook hook_;
  std::atomic<int>* const live_slots_;
  const DecodeHook decode_hook_;
  std::vector<Slot> slots_;
};

// `steps` rows that each go part of the way to x̂0.
inline std::shared_ptr<const Table> FakeTable(uint32_t steps) {
  auto table = std::make_shared<Table>();
  table->total_steps = steps;
  for (uint32_t i = 0; i < steps; ++i) {
    Row row;
    row.timestep = steps - 1 - i;
    row.p = 1;
    row.q = -0.5;
    row.w[0][kColX] = 0.75;
    row.w[0][kColX0] = 0.25;
    row.step = i + 1;
    row.state_timestep = row.timestep - 1;
    table->rows.push_back(row);
  }
  return table;
}

// `terms` terms at t = terms-1 … 0.
inline std::shared_ptr<const Table> FakeTerms(uint32_t terms) {
  auto table = std::make_shared<Table>(*FakeTable(terms));
  table->stochastic = true;
  table->terms.resize(terms);
  return table;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_ENGINE_FAKE_EXECUTOR_H_
