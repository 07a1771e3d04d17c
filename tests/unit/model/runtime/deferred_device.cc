#include "tests/unit/model/runtime/deferred_device.h"

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <set>

#include "ATen/EmptyTensor.h"
#include "ATen/detail/PrivateUse1HooksInterface.h"
#include "ATen/native/CPUFallback.h"
#include "ATen/ops/_reshape_alias_native.h"
#include "ATen/ops/as_strided_native.h"
#include "ATen/ops/convolution.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/set_native.h"
#include "ATen/ops/view_native.h"
#include "c10/core/CPUAllocator.h"
#include "c10/core/impl/DeviceGuardImplInterface.h"
#include "torch/library.h"

namespace denoise {
namespace {

constexpr int kDevices = 2;
constexpr auto kType = c10::DeviceType::PrivateUse1;

struct Copy {
  at::Tensor from;
  at::Tensor to;
};

DeferredDevice::Counts g_counts;
bool g_lost = false;
std::deque<Copy> g_pending;
thread_local c10::DeviceIndex t_device = 0;
std::array<std::atomic<int64_t>, kDevices> g_bytes;
std::set<const void*> g_pinned;

// The tensor's memory, which is the host's after all.
at::Tensor OnHost(const at::Tensor& tensor) {
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(),
                       at::TensorOptions(tensor.scalar_type()));
}

void CopyNow(const Copy& copy) { OnHost(copy.to).copy_(OnHost(copy.from)); }

void DoPending() {
  while (!g_pending.empty()) {
    CopyNow(g_pending.front());
    g_pending.pop_front();
  }
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto* block = new Block{bytes, t_device, std::make_unique<char[]>(bytes)};
    g_bytes[t_device] += static_cast<int64_t>(bytes);
    return {block->memory.get(), block, &Free, c10::Device(kType, t_device)};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  struct Block {
    size_t bytes;
    c10::DeviceIndex device;
    std::unique_ptr<char[]> memory;
  };
  static void Free(void* context) {
    auto* const block = static_cast<Block*>(context);
    g_bytes[block->device] -= static_cast<int64_t>(block->bytes);
    delete block;
  }
};

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr data = c10::GetDefaultCPUAllocator()->allocate(bytes);
    void* const memory = data.get();
    g_pinned.insert(memory);
    auto* const block = new c10::DataPtr(std::move(data));
    return {memory, block, &Free, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void Free(void* context) {
    auto* const block = static_cast<c10::DataPtr*>(context);
    g_pinned.erase(block->get());
    delete block;
  }
};

Memory g_memory;
PinnedMemory g_pinned_memory;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {kType, t_device}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < kDevices, "no such device");
    if (device.index() >= 0) t_device = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) t_device = device.index();
  }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  void synchronizeStream(const c10::Stream& /*stream*/) const override {
    ++g_counts.waits;
    TORCH_CHECK(!g_lost, "DEFERRED error: device-side assert triggered");
    DoPending();
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex /*device*/) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &g_pinned_memory; }
  bool isPinnedPtr(const void* data) const override { return g_pinned.count(data) > 0; }
};

c10::DeviceIndex IndexOf(std::optional<at::Device> device) {
  return device.has_value() && device->has_index() ? device->index() : t_device;
}

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor Empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout> /*layout*/, std::optional<at::Device> device,
                 std::optional<bool> /*pinned*/, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(c10::Device(kType, IndexOf(device)));
  return at::detail::empty_generic(sizes, &g_memory, kKeys, dtype.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(at::IntArrayRef sizes, at::IntArrayRef strides,
                        std::optional<at::ScalarType> dtype, std::optional<at::Layout> /*layout*/,
                        std::optional<at::Device> device, std::optional<bool> /*pinned*/) {
  const c10::DeviceGuard guard(c10::Device(kType, IndexOf(device)));
  return at::detail::empty_strided_generic(sizes, strides, &g_memory, kKeys,
                                           dtype.value_or(at::kFloat));
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  if (!non_blocking) {
    DoPending();
    CopyNow({from, to});
    return to;
  }
  if (from.is_cpu()) {
    ++g_counts.copies_up;
    if (g_pinned.count(from.storage().data()) > 0) ++g_counts.copies_up_pinned;
  } else {
    ++g_counts.copies_down;
  }
  g_pending.push_back({from, to});
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) {
    at::Tensor resized = to;
    resized.set_(at::empty(from.sizes(), to.options()));
  }
  return CopyFrom(from, to, /*non_blocking=*/false);
}

void OnTheCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  DoPending();
  at::native::cpu_fallback(op, stack);
}

// What the fallback does not do for backends of others.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups) {
  DoPending();
  std::optional<at::Tensor> bias_on_host;
  if (bias.has_value() && bias->defined()) bias_on_host = OnHost(*bias);
  return at::convolution(OnHost(x), OnHost(weight), bias_on_host, stride, padding, dilation,
                         transposed, output_padding, groups)
      .to(x.device());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&OnTheCpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", TORCH_FN(Empty));
  library.impl("empty_strided", TORCH_FN(EmptyStrided));
  library.impl("_copy_from", TORCH_FN(CopyFrom));
  library.impl("_copy_from_and_resize", TORCH_FN(CopyFromAndResize));
  library.impl("convolution_overrideable", TORCH_FN(Convolution));
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  library.impl("set_.source_Tensor", TORCH_FN(at::native::set_tensor_));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(at::native::set_storage_cpu_));
}

// Autocast is a setting that changes nothing there.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

void DeferredDevice::Register() {
  static const bool once = [] {
    c10::register_privateuse1_backend("deferred");
    at::RegisterPrivateUse1HooksInterface(new Hooks);  // LibTorch's for good
    return true;
  }();
  static_cast<void>(once);
}

void DeferredDevice::Reset() {
  DoPending();
  g_counts = {};
  g_lost = false;
}

void DeferredDevice::Lose() { g_lost = true; }

DeferredDevice::Counts DeferredDevice::counts() { return g_counts; }

int64_t DeferredDevice::pending() { return static_cast<int64_t>(g_pending.size()); }

int64_t DeferredDevice::bytes(int index) { return g_bytes[index]; }

}  // namespace denoise
