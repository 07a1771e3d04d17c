#include "server/model/runtime/accelerators.h"

#include <dlfcn.h>

#include "ATen/Context.h"
#include "ATen/DeviceAccelerator.h"
#include "absl/strings/match.h"
#include "c10/core/Device.h"
#include "c10/core/impl/DeviceGuardImplInterface.h"
#include "server/model/runtime/torch_error.h"
#include "torch/csrc/jit/codegen/fuser/interface.h"

namespace denoise {
namespace {

// Loads libtorch_cuda.so, which registers what it brings. It is not linked: cuBLAS and others ask
// for so much thread-local memory (230 KB) that in a process that begins with them the small stacks
// of the metrics' HTTP server do not hold it, and no thread of it starts. Loaded later they get
// theirs from the heap. False where LibTorch has no such library; throws where it cannot be loaded.
bool LoadLibrary(const std::string& kind) {
  const std::string library = "libtorch_" + kind + ".so";
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
  const std::string reason = dlerror();
  TORCH_CHECK(absl::StartsWith(reason, library), reason);  // it is there, what it needs is not
  return false;
}

}  // namespace

Accelerators FindAccelerators(absl::string_view kind) {
  Accelerators found;
  try {
    const c10::DeviceType type = c10::Device(std::string(kind)).type();
    if (!at::accelerator::isAccelerator(type)) return found;
    found.built = true;
    // A kind's guard comes with its library.
    if (!c10::impl::hasDeviceGuardImpl(type)) found.built = LoadLibrary(std::string(kind));
    if (!found.built) return found;
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
