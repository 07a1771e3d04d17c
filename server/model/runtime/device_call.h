// A denoiser's call on a device: inputs up, answer down, and one wait.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_DEVICE_CALL_H_
#define DENOISE_SERVER_MODEL_RUNTIME_DEVICE_CALL_H_

#include "ATen/core/Tensor.h"
#include "c10/core/DeviceGuard.h"

namespace denoise {

// Host memory that `device` can read by itself while the thread goes on: pinned, where it is not
// the CPU.
at::TensorOptions HostMemory(at::ScalarType dtype, c10::Device device);

// Lives as long as the call; the device is the thread's current one meanwhile. Chains stay in host
// memory (docs/decisions/0005), so this is all that there is to a device. On the CPU every function
// does nothing. May throw, as LibTorch does.
class DeviceCall {
 public:
  explicit DeviceCall(c10::Device device) : device_(device), guard_(device) {}
  // Waits where Down() has not: the device may still read inputs that their owner is about to
  // overwrite. Where it cannot be waited for it is lost, as CUDA's are by an index out of range in
  // a kernel, and to all of the process for good: this ends it, with a line on stderr, because one
  // that goes on would take requests and fail each.
  ~DeviceCall();

  DeviceCall(const DeviceCall&) = delete;
  DeviceCall& operator=(const DeviceCall&) = delete;

  // Begins to copy an input up, from host memory that stays as it is until Down() or the end.
  at::Tensor Up(const at::Tensor& host);
  // The answer in host memory, contiguous where it was not there before. The one wait of a call.
  at::Tensor Down(const at::Tensor& answer);

 private:
  void Wait();

  const c10::Device device_;
  const c10::DeviceGuard guard_;
  bool pending_ = false;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_DEVICE_CALL_H_
