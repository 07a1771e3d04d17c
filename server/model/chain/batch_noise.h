// The noise that the rows of a batch draw.
#ifndef DENOISE_SERVER_MODEL_CHAIN_BATCH_NOISE_H_
#define DENOISE_SERVER_MODEL_CHAIN_BATCH_NOISE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "ATen/core/Tensor.h"
#include "server/engine/executor.h"
#include "server/model/chain/noise.h"

namespace denoise {

// Of a large sample a draw takes longer than the update that it is for: 2.7 ns a value. So, where a
// core is free, a thread of its own draws while the denoiser runs. Which numbers a chain gets does
// not depend on that, nor on how often a batch is tried. To be used by one thread; once warm
// nothing is allocated.
class BatchNoise {
 public:
  // `values` a draw. `beside`: there is a core for a thread.
  BatchNoise(int64_t values, bool beside);
  ~BatchNoise();
  BatchNoise(const BatchNoise&) = delete;
  BatchNoise& operator=(const BatchNoise&) = delete;

  // A batch begins: nothing is wanted yet.
  void Clear();
  // The chain in `slot` wants a draw: the next of `stream`, or the one that it was to have in a
  // batch that was abandoned.
  void Add(SlotId slot, NoiseStream* stream);
  // May begin to draw. Until Finish() or Abandon() nobody else touches the streams.
  void Begin();
  // Everything is drawn.
  void Finish();
  // The draws in the order of Add(), one a call, [values]; valid until Clear().
  const float* Next();
  // The denoiser's call has failed: what was drawn is kept for when it is tried again.
  void Abandon();
  // There is no chain in `slot` any more.
  void Forget(SlotId slot);

 private:
  struct Draw {
    SlotId slot;
    NoiseStream* stream;  // null: there already
    at::Tensor z;         // [values]; undefined until it is needed first
  };

  void DrawAll();
  void Loop();
  void WaitForThread();

  const int64_t values_;
  std::vector<Draw> draws_;  // of this batch the first size_
  size_t size_ = 0;
  size_t next_ = 0;
  std::vector<Draw> kept_;  // of abandoned batches, by slot in the order of drawing

  // What has been begun and done by the thread, which has draws_ in between.
  bool running_ = false;
  std::atomic<uint64_t> begun_{0};
  std::atomic<uint64_t> done_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last, so that what it uses outlives it; none where no core is free
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_BATCH_NOISE_H_
