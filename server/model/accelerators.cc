#include "server/model/accelerators.h"

#include "ATen/Context.h"
#include "ATen/DeviceAccelerator.h"
#include "c10/core/Device.h"
#include "c10/core/impl/DeviceGuardImplInterface.h"
#include "server/model/torch_error.h"
#include "torch/csrc/jit/codegen/fuser/interface.h"

namespace denoise {

Accelerators FindAccelerators(absl::string_view kind) {
  Accelerators found;
  try {
    const c10::DeviceType type = c10::Device(std::string(kind)).type();
    // A kind's guard comes with its library, so it says whether that is linked.
    if (!at::accelerator::isAccelerator(type) || !c10::impl::hasDeviceGuardImpl(type)) return found;
    found.built = true;
    found.count = c10::impl::getDeviceGuardImpl(type)->deviceCount();
    if (found.count > 0) return found;
    found.why_none = "none was found";
    at::globalContext().lazyInitDevice(type);  // throws, and says why
  } catch (...) {
    if (found.built) found.why_none = std::string(CurrentExceptionStatus().message());
  }
  return found;
}

void PrepareAccelerators(bool batch_invariant) {
  at::Context& context = at::globalContext();
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setBenchmarkCuDNN(!batch_invariant);
  context.setDeterministicCuDNN(batch_invariant);
  // TorchScript's own fuser compiles kernels while a call waits, for each new shape again.
  torch::jit::overrideCanFuseOnGPU(false);
}

}  // namespace denoise
