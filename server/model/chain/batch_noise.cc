#include "server/model/chain/batch_noise.h"

#include <algorithm>
#include <utility>

#include "ATen/ops/empty.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/torch_runtime.h"

namespace denoise {
namespace {

// Fewer are drawn sooner than a thread is woken and waited for.
constexpr int64_t kWorthAThread = 8192;

}  // namespace

BatchNoise::BatchNoise(int64_t values, bool beside) : values_(values) {
  if (beside) thread_ = std::thread([this] { Loop(); });
}

BatchNoise::~BatchNoise() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  ++begun_;
  begun_.notify_one();
  thread_.join();
}

void BatchNoise::Clear() { size_ = next_ = 0; }

void BatchNoise::Add(SlotId slot, NoiseStream* stream) {
  if (size_ == draws_.size()) draws_.emplace_back();
  Draw& draw = draws_[size_++];
  draw.slot = slot;
  draw.stream = stream;
  const auto kept = std::find_if(kept_.begin(), kept_.end(),
                                 [slot](const Draw& other) { return other.slot == slot; });
  if (kept != kept_.end()) {
    draw.stream = nullptr;
    draw.z = std::move(kept->z);
    kept_.erase(kept);
  } else if (!draw.z.defined()) {
    const c10::InferenceMode inference;
    draw.z = at::empty({values_}, at::kFloat);
  }
}

void BatchNoise::Begin() {
  const auto wanted = std::count_if(draws_.begin(), draws_.begin() + static_cast<ptrdiff_t>(size_),
                                    [](const Draw& draw) { return draw.stream != nullptr; });
  if (!thread_.joinable() || wanted * values_ < kWorthAThread) return;
  running_ = true;
  ++begun_;
  begun_.notify_one();
}

void BatchNoise::WaitForThread() {
  const uint64_t begun = begun_;
  for (uint64_t done = done_; done != begun; done = done_) done_.wait(done);
  running_ = false;
}

void BatchNoise::Finish() {
  if (running_) {
    WaitForThread();
  } else {
    DrawAll();
  }
}

const float* BatchNoise::Next() { return draws_[next_++].z.const_data_ptr<float>(); }

void BatchNoise::Abandon() {
  const bool drawn = running_;
  if (drawn) WaitForThread();
  for (size_t i = 0; i < size_; ++i) {
    Draw& draw = draws_[i];
    if (!drawn && draw.stream != nullptr) continue;
    kept_.push_back({draw.slot, nullptr, std::move(draw.z)});
    draw.z.reset();
  }
  size_ = 0;
}

void BatchNoise::Forget(SlotId slot) {
  std::erase_if(kept_, [slot](const Draw& draw) { return draw.slot == slot; });
}

void BatchNoise::DrawAll() {
  const c10::InferenceMode inference;
  for (size_t i = 0; i < size_; ++i) {
    if (draws_[i].stream != nullptr) draws_[i].stream->Draw(draws_[i].z);
  }
}

void BatchNoise::Loop() {
  PrepareEngineThread(1);
  for (uint64_t seen = 0;;) {
    begun_.wait(seen);
    seen = begun_;
    if (stopping_) return;
    DrawAll();
    done_ = seen;
    done_.notify_one();
  }
}

}  // namespace denoise
