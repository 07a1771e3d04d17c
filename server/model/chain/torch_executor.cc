#include "server/model/chain/torch_executor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/allocator.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

// Conditions whose shapes all the rows share; null where they have none.
absl::StatusOr<const Conditions*> SharedShapes(absl::Span<const RowTask> tasks) {
  std::optional<const Conditions*> shapes;
  for (const RowTask& task : tasks) {
    if (!task.row->denoise) continue;
    for (const Conditions* own :
         {task.conditions, task.guided ? task.negative_conditions : task.conditions}) {
      if (!shapes.has_value()) shapes = own;
      if (own == *shapes) continue;
      if (own == nullptr || *shapes == nullptr || !SameShapes(*own, **shapes)) {
        return absl::InternalError("rows with conditions of different shapes share a batch");
      }
    }
  }
  return shapes.value_or(nullptr);
}

}  // namespace

TorchExecutor::TorchExecutor(std::shared_ptr<const ModelInfo> info,
                             std::shared_ptr<const Denoiser> denoiser,
                             std::shared_ptr<const Decoder> decoder, bool core_is_free)
    : info_(std::move(info)),
      denoiser_(std::move(denoiser)),
      decoder_(std::move(decoder)),
      values_(info_->shape.values()),
      out_channels_(info_->shape.channels * (info_->learned_variance ? 2 : 1)),
      out_values_(info_->learned_variance ? 2 * values_ : values_),
      levels_{info_->value_min, info_->value_max, info_->levels},
      inputs_(*info_, *denoiser_, info_->integer_time, info_->batch_sizes.back()),
      x_t_(values_),
      initial_noise_(0),
      noise_(values_, core_is_free) {
  const c10::InferenceMode inference;
  x_T_ = at::empty({values_}, at::kFloat);
  scratch_ = at::empty({values_}, at::kFloat);
  if (decoder_ != nullptr) {
    const SampleShape& shape = info_->shape;
    latents_ = EmptyInput({info_->decoder->max_rows, shape.channels, shape.height, shape.width},
                          Layout::kContiguous, decoder_->device());
  }
}

absl::StatusOr<std::unique_ptr<Executor>> TorchExecutor::Make(
    std::shared_ptr<const ModelInfo> info, std::shared_ptr<const Denoiser> denoiser,
    std::shared_ptr<const Decoder> decoder, bool core_is_free) try {
  return std::unique_ptr<Executor>(
      new TorchExecutor(std::move(info), std::move(denoiser), std::move(decoder), core_is_free));
} catch (...) {
  return CurrentExceptionStatus();
}

absl::StatusOr<SlotId> TorchExecutor::Start(const ChainStart& start) try {
  const c10::InferenceMode inference;
  Slot slot;
  slot.num_registers = start.registers;
  slot.keeps_noise = start.keep_noise;
  const int64_t values = (int64_t{start.registers} + (start.keep_noise ? 1 : 0)) * values_;
  CheckFits(values * sizeof(float));
  slot.registers.reset(new float[values]);
  if (start.stochastic) slot.noise.emplace(start.seed);
  const float* x = start.x.data();
  if (start.x.empty()) {
    if (!start.stochastic) initial_noise_.Reseed(start.seed);
    (start.stochastic ? *slot.noise : initial_noise_).Draw(x_T_);
    x = x_T_.const_data_ptr<float>();
  }
  const auto scale = static_cast<float>(start.scale);
  for (int64_t i = 0; i < values_; ++i) slot.registers[i] = scale * x[i];
  if (!start.image.empty()) {
    const auto image_scale = static_cast<float>(start.image_scale);
    for (int64_t i = 0; i < values_; ++i) slot.registers[i] += image_scale * start.image[i];
  }
  for (int r = 1; r < start.registers; ++r) {
    std::copy_n(slot.registers.get(), values_, slot.registers.get() + r * values_);
  }
  if (start.keep_noise) {
    std::copy_n(x, values_, slot.registers.get() + start.registers * values_);
  }
  return Keep(std::move(slot));
} catch (...) {
  return CurrentExceptionStatus();
}

SlotId TorchExecutor::Keep(Slot slot) {
  if (free_.empty()) {
    free_.reserve(slots_.size() + 1);  // so that Free cannot fail
    slots_.emplace_back();
    free_.push_back(static_cast<SlotId>(slots_.size() - 1));
  }
  const SlotId id = free_.back();
  free_.pop_back();
  slots_[id] = std::move(slot);
  return id;
}

struct TorchExecutor::MovedSlot : ChainState {
  Slot slot;
};

std::unique_ptr<ChainState> TorchExecutor::Extract(SlotId slot) try {
  auto state = std::make_unique<MovedSlot>();
  state->slot = std::move(slots_[slot]);
  Free(slot);
  return state;
} catch (...) {
  return nullptr;
}

absl::StatusOr<SlotId> TorchExecutor::Adopt(std::unique_ptr<ChainState> state) try {
  return Keep(std::move(static_cast<MovedSlot&>(*state).slot));
} catch (...) {
  return CurrentExceptionStatus();
}

void TorchExecutor::Free(SlotId slot) {
  slots_[slot] = Slot();
  noise_.Forget(slot);
  free_.push_back(slot);
}

void TorchExecutor::Read(SlotId slot, float* x) {
  std::copy_n(slots_[slot].registers.get(), values_, x);
}

absl::Status TorchExecutor::Execute(absl::Span<const RowTask> tasks, int64_t padded_rows,
                                    absl::Span<bool> finite) {
  denoiser_seconds_ = 0;
  int64_t rows = 0;
  for (const RowTask& task : tasks) rows += task.denoiser_rows();
  if (absl::Status status = Check(tasks, rows, padded_rows); !status.ok()) return status;

  const c10::InferenceMode inference;
  if (absl::Status status = PrepareTerms(tasks); !status.ok()) return status;
  if (absl::Status status = WantNoise(tasks); !status.ok()) {
    noise_.Abandon();
    return status;
  }
  const float* out = nullptr;
  if (rows > 0) {
    noise_.Begin();
    if (absl::Status status = CallDenoiser(tasks, rows, padded_rows); !status.ok()) {
      noise_.Abandon();
      return status;
    }
    out = out_.const_data_ptr<float>();
  }
  noise_.Finish();
  // From here on nothing fails, and noise that was drawn for a call that failed is kept (that of
  // terms until they are done), so that a batch that is tried again has the same.
  for (size_t i = 0; i < tasks.size(); ++i) {
    finite[i] = Update(tasks[i], out);
    if (out != nullptr) out += tasks[i].denoiser_rows() * out_values_;
  }
  out_.reset();  // back to the allocator before the next call asks for as much
  return absl::OkStatus();
}

absl::Status TorchExecutor::Check(absl::Span<const RowTask> tasks, int64_t rows,
                                  int64_t padded_rows) const {
  const std::vector<int64_t>& sizes = info_->batch_sizes;
  const bool fits = rows == 0 ? padded_rows == 0
                              : padded_rows >= rows &&
                                    std::binary_search(sizes.begin(), sizes.end(), padded_rows);
  if (!fits) {
    return absl::InternalError(absl::StrCat("a batch of ", rows, " rows padded to ", padded_rows,
                                            " is none of the batch sizes"));
  }
  for (const RowTask& task : tasks) {
    const Slot& slot = slots_[task.slot];
    const Blend blend = task.row->blend;
    if ((task.row->noise || blend == Blend::kFreshNoise) && !slot.noise.has_value()) {
      return absl::InternalError("a row draws noise in a chain that was started without any");
    }
    if (blend == Blend::kKeptNoise && !slot.keeps_noise) {
      return absl::InternalError("a row blends with the first draw of a chain that kept none");
    }
    if (blend != Blend::kNone && (task.known == nullptr || task.mask == nullptr)) {
      return absl::InternalError("a row blends without an image or without a mask");
    }
    if (task.row->variance != RowVariance::kNone && !info_->learned_variance) {
      return absl::InternalError("a row wants a learned variance of a model that gives none");
    }
    if (task.answer_out != nullptr && (!task.row->denoise || task.guided)) {
      return absl::InternalError("an answer is wanted of a row that has none, or two");
    }
    if (task.term == nullptr) continue;
    if (info_->levels < 2) {
      return absl::InternalError("a likelihood of a model whose samples have no levels");
    }
    if (!task.row->denoise || task.guided || task.x_out != nullptr || task.x0_out != nullptr) {
      return absl::InternalError(
          "a term of a likelihood is guided, shows a state or calls no denoiser");
    }
    if (!slot.noise.has_value() ||
        (slot.term_noise != nullptr && !slot.term_noise->Has(task.term_index))) {
      return absl::InternalError(
          absl::StrCat("term ", task.term_index, " of a likelihood has no noise, or is done"));
    }
  }
  return absl::OkStatus();
}

absl::Status TorchExecutor::PrepareTerms(absl::Span<const RowTask> tasks) try {
  for (const RowTask& task : tasks) {
    if (task.term == nullptr) continue;
    Slot& slot = slots_[task.slot];
    if (slot.term_noise == nullptr) slot.term_noise = std::make_unique<TermNoise>();
    slot.term_noise->Prepare(task.term_index, values_, *slot.noise);
  }
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
}

absl::Status TorchExecutor::WantNoise(absl::Span<const RowTask> tasks) try {
  noise_.Clear();
  for (const RowTask& task : tasks) {
    if (task.term != nullptr) continue;
    Slot& slot = slots_[task.slot];
    if (task.row->noise) noise_.Add(task.slot, &*slot.noise);
    if (task.row->blend == Blend::kFreshNoise) noise_.Add(task.slot, &*slot.noise);
  }
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
}

const float* TorchExecutor::InputOf(const RowTask& task) {
  const Slot& slot = slots_[task.slot];
  if (task.term == nullptr) return slot.registers.get();
  MakeNoisy(*task.term, values_, slot.registers.get(), slot.term_noise->Get(task.term_index),
            x_t_.data());
  return x_t_.data();
}

absl::Status TorchExecutor::CallDenoiser(absl::Span<const RowTask> tasks, int64_t rows,
                                         int64_t padded_rows) {
  const absl::StatusOr<const Conditions*> shapes = SharedShapes(tasks);
  if (!shapes.ok()) return shapes.status();
  if (absl::Status status = inputs_.Begin(padded_rows, *shapes); !status.ok()) return status;
  int64_t row = 0;
  for (const RowTask& task : tasks) {
    if (!task.row->denoise) continue;
    const float* const x = InputOf(task);
    inputs_.Set(row++, x, task.row->timestep, {task.label, task.conditions, task.sample});
    if (task.guided) {
      inputs_.Set(row++, x, task.row->timestep,
                  {task.negative_label, task.negative_conditions, task.sample});
    }
  }
  inputs_.Pad(rows, padded_rows);

  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<at::Tensor> answer = inputs_.Run(*denoiser_, padded_rows);
  denoiser_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!answer.ok()) return answer.status();

  const SampleShape& shape = info_->shape;
  if (answer->scalar_type() != at::kFloat ||
      answer->sizes() != at::IntArrayRef({padded_rows, out_channels_, shape.height, shape.width})) {
    return absl::InternalError(absl::StrCat("the denoiser answered ",
                                            at::toString(answer->scalar_type()), " [",
                                            absl::StrJoin(answer->sizes(), ", "), "]"));
  }
  try {
    out_ = answer->contiguous();
  } catch (...) {
    return CurrentExceptionStatus();
  }
  return absl::OkStatus();
}

bool TorchExecutor::Update(const RowTask& task, const float* out) {
  if (task.term != nullptr) return FinishTerm(task, out);
  Slot& slot = slots_[task.slot];
  const Row& row = *task.row;
  RowInputs in;
  if (row.denoise) {
    in.out = out;
    if (task.answer_out != nullptr) std::copy_n(out, out_values_, task.answer_out);
    if (task.guided) in.out_null = out + out_values_;
    in.guidance = task.guidance;
    in.guidance_rescale = task.guidance_rescale;
  }
  if (row.noise) in.z = noise_.Next();
  in.known = task.known;
  in.mask = task.mask;
  if (row.blend == Blend::kKeptNoise) {
    in.blend_z = slot.registers.get() + slot.num_registers * values_;
  } else if (row.blend == Blend::kFreshNoise) {
    in.blend_z = noise_.Next();
  }
  return UpdateRow(row, slot.num_registers, values_, in, slot.registers.get(),
                   {.x = task.x_out, .x0 = row.denoise ? task.x0_out : nullptr},
                   scratch_.mutable_data_ptr<float>());
}

bool TorchExecutor::FinishTerm(const RowTask& task, const float* out) {
  Slot& slot = slots_[task.slot];
  const TermInputs in = {
      .x_0 = slot.registers.get(), .z = slot.term_noise->Get(task.term_index), .out = out};
  const bool finite = ReduceTerm(*task.row, *task.term, levels_, values_, in, task.term_values);
  slot.term_noise->Done(task.term_index);
  return finite;
}

absl::Status TorchExecutor::Decode(absl::Span<const DecodeTask> tasks,
                                   absl::Span<bool> finite) try {
  const auto rows = static_cast<int64_t>(tasks.size());
  if (decoder_ == nullptr || rows > info_->decoder->max_rows) {
    return absl::InternalError(absl::StrCat("a call of ", rows, " samples is not to be decoded"));
  }
  const c10::InferenceMode inference;
  auto* const latents = latents_.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(tasks[i].latents, values_, latents + i * values_);
  }
  const absl::StatusOr<at::Tensor> answer = decoder_->Run(latents_.narrow(0, 0, rows));
  if (!answer.ok()) return answer.status();
  const SampleShape& shape = info_->decoder->format.shape;
  if (answer->scalar_type() != at::kFloat ||
      answer->sizes() != at::IntArrayRef({rows, shape.channels, shape.height, shape.width})) {
    return absl::InternalError(absl::StrCat("it answered ", at::toString(answer->scalar_type()),
                                            " [", absl::StrJoin(answer->sizes(), ", "), "]"));
  }
  const auto* from = answer->const_data_ptr<float>();
  for (int64_t i = 0; i < rows; ++i, from += shape.values()) {
    finite[i] = std::all_of(from, from + shape.values(), [](float v) { return std::isfinite(v); });
    std::copy_n(from, shape.values(), tasks[i].out);
  }
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
