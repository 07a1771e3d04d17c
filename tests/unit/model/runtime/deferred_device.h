// A device that LibTorch takes for an accelerator, and that is host memory.
#ifndef DENOISE_TESTS_UNIT_MODEL_RUNTIME_DEFERRED_DEVICE_H_
#define DENOISE_TESTS_UNIT_MODEL_RUNTIME_DEFERRED_DEVICE_H_

#include <cstdint>

namespace denoise {

// Two devices, "deferred:0" and "deferred:1", by LibTorch's slot for backends of others
// (PrivateUse1). What is computed there is computed by the CPU's kernels, so that answers have its
// bits. A copy that is not to block is done as late as it may be: when something else needs the
// device's memory, or when it is waited for. So whoever fills an input again too early, or reads an
// answer too early, gets what a fast device would rarely give: the wrong numbers.
//
// For a test program with one thread that calls devices. LibTorch has the slot once a process.
class DeferredDevice {
 public:
  // Of both devices since the last Reset().
  struct Counts {
    int copies_up = 0;         // that did not block
    int copies_up_pinned = 0;  // of these, from pinned memory
    int copies_down = 0;       // that did not block
    int waits = 0;             // for a stream
  };

  // Makes the devices known to LibTorch; once is enough, more do nothing.
  static void Register();

  static void Reset();
  // From now on until Reset() waiting fails, as it does for a CUDA device after a fault.
  static void Lose();
  static Counts counts();
  // Copies that have not been done yet.
  static int64_t pending();
  // Bytes that tensors hold on "deferred:INDEX" now.
  static int64_t bytes(int index);
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_MODEL_RUNTIME_DEFERRED_DEVICE_H_
