#include "server/model/runtime/device_call.h"

#include <sysexits.h>

#include <cstdlib>
#include <iostream>

#include "c10/core/Stream.h"
#include "c10/core/impl/VirtualGuardImpl.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {

at::TensorOptions HostMemory(at::ScalarType dtype, c10::Device device) {
  return at::TensorOptions(dtype).pinned_memory(!device.is_cpu());
}

DeviceCall::~DeviceCall() {
  if (!pending_) return;
  try {
    Wait();
  } catch (...) {
    std::cerr << "denoised: the device " << device_.str() << " is lost ("
              << CurrentExceptionStatus().message()
              << ") and a process cannot recover it: the server ends; start it again" << std::endl;
    std::_Exit(EX_SOFTWARE);  // what runs at exit would wait for the device
  }
}

at::Tensor DeviceCall::Up(const at::Tensor& host) {
  if (device_.is_cpu()) return host;
  pending_ = true;
  return host.to(device_, host.scalar_type(), /*non_blocking=*/true);
}

at::Tensor DeviceCall::Down(const at::Tensor& answer) {
  if (device_.is_cpu()) return answer;
  pending_ = true;
  // Put in order there rather than here; LibTorch takes pinned memory for it.
  at::Tensor host =
      answer.contiguous().to(c10::Device(c10::kCPU), answer.scalar_type(), /*non_blocking=*/true);
  Wait();
  return host;
}

// Nothing is enqueued behind the copy down, so that waiting for the stream is waiting for it.
void DeviceCall::Wait() {
  c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
  pending_ = false;
}

}  // namespace denoise
