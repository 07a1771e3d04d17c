#include "server/model/denoiser/torchscript_module.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/core/ivalue.h"
#include "ATen/ops/empty_like.h"
#include "absl/strings/str_cat.h"
#include "c10/core/DeviceGuard.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/device_call.h"
#include "server/model/runtime/torch_error.h"
#include "torch/csrc/jit/api/module.h"
#include "torch/csrc/jit/ir/ir.h"
#include "torch/csrc/jit/passes/inliner.h"
#include "torch/csrc/jit/serialization/import.h"

namespace denoise {
namespace {

absl::Status CheckArguments(const std::string& file, const torch::jit::Module& module,
                            const ForwardSpec& forward) {
  const auto method = module.find_method("forward");
  if (!method.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": the module has no forward: export one that is called as ", forward.signature));
  }
  const std::vector<c10::Argument>& arguments = method->function().getSchema().arguments();
  const size_t most = arguments.size() - 1;  // without self
  const size_t least = std::count_if(arguments.begin() + 1, arguments.end(),
                                     [](const auto& a) { return !a.default_value().has_value(); });
  if (forward.arguments >= least && forward.arguments <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": forward takes ", least, least == most ? "" : absl::StrCat(" to ", most),
                   " arguments, where ", forward.signature, " is meant: ", forward.fix));
}

// The type of most of the weights; float32 where there are none.
absl::StatusOr<at::ScalarType> TypeOfWeights(const std::string& file,
                                             const torch::jit::Module& module) {
  std::map<at::ScalarType, int64_t> elements;
  for (const at::Tensor& weight : module.parameters()) {
    if (weight.is_floating_point() || weight.is_complex()) {
      elements[weight.scalar_type()] += weight.numel();
    }
  }
  at::ScalarType dtype = at::kFloat;
  int64_t most = 0;
  for (const auto& [each, count] : elements) {
    if (count > most) dtype = each;
    most = std::max(most, count);
  }
  if (!PrecisionName(dtype).empty()) return dtype;
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": its weights are ", at::toString(dtype),
                   ", which is not served: export it in float32, bfloat16, float16 or float64"));
}

// `contiguous(ChannelsLast)` would leave weights with one input channel or a 1×1 kernel as they
// are, whose strides satisfy both layouts, and those would bring activations back to the slow one.
void MakeChannelsLast(torch::jit::Module& module) {
  for (at::Tensor weight : module.parameters()) {
    if (weight.dim() != 4) continue;
    weight.set_data(at::empty_like(weight, at::MemoryFormat::ChannelsLast).copy_(weight));
  }
}

bool HasConvolutions(const torch::jit::Module& module) {
  for (const at::Tensor& weight : module.parameters()) {
    if (weight.dim() == 4) return true;
  }
  return false;
}

// Sets the constants that name another device. Returns whether there are any; with `set` false it
// only looks.
bool SetDevices(torch::jit::Block* block, c10::Device device, bool set) {
  bool others = false;
  for (torch::jit::Node* node : block->nodes()) {
    if (node->kind() == torch::jit::prim::Constant &&
        node->output()->type()->kind() == c10::TypeKind::DeviceObjType &&
        c10::Device(node->s(torch::jit::attr::value)) != device) {
      others = true;
      if (set) node->s_(torch::jit::attr::value, device.str());
    }
    for (torch::jit::Block* inner : node->blocks()) {
      if (SetDevices(inner, device, set)) others = true;
    }
  }
  return others;
}

// Makes forward name `device` wherever it names one. Tracing writes down the device that a tensor
// was made on (torch.arange in every embedding of time), and loading moves the weights alone.
// Before freezing, which computes what is made of constants.
void MoveConstants(const torch::jit::Module& module, c10::Device device) {
  const std::shared_ptr<torch::jit::Graph> forward = module.get_method("forward").graph();
  const std::shared_ptr<torch::jit::Graph> inlined = forward->copy();
  torch::jit::Inline(*inlined);
  if (!SetDevices(inlined->block(), device, /*set=*/false)) return;
  torch::jit::Inline(*forward);
  SetDevices(forward->block(), device, /*set=*/true);
}

void SetOrigin(torch::jit::Block* block, const torch::jit::InlinedCallStackPtr& origin) {
  for (torch::jit::Node* node : block->nodes()) {
    node->setCallStack(origin);
    for (torch::jit::Block* inner : node->blocks()) SetOrigin(inner, origin);
  }
}

// Freezes so that forward may throw. Every node of the graph points at the functions that it was
// inlined from, which are looked up when it throws; freezing deletes those functions and leaves the
// pointers, so that LibTorch (2.13) crashes. They are set to forward, which stays.
torch::jit::Module Freeze(const torch::jit::Module& module) {
  torch::jit::Module frozen = torch::jit::freeze(module);
  const torch::jit::Method forward = frozen.get_method("forward");
  SetOrigin(forward.graph()->block(), c10::make_intrusive<torch::jit::InlinedCallStack>(
                                          &forward.function(), torch::jit::SourceRange()));
  return frozen;
}

// The tensor that forward answered: itself, the one in a tuple's first place, or under a dict's
// "sample". INTERNAL for anything else.
absl::StatusOr<at::Tensor> TensorOf(const c10::IValue& answer) {
  if (answer.isTensor()) return answer.toTensor();
  if (answer.isTuple()) {
    const auto& elements = answer.toTupleRef().elements();
    if (!elements.empty() && elements[0].isTensor()) return elements[0].toTensor();
  } else if (answer.isGenericDict()) {
    const auto& dict = answer.toGenericDict();
    if (dict.keyType()->kind() == c10::TypeKind::StringType) {
      const auto found = dict.find("sample");
      if (found != dict.end() && found->value().isTensor()) return found->value().toTensor();
    }
  }
  return absl::InternalError(absl::StrCat(
      "forward answered a ", answer.tagKind(),
      ", not a tensor, a tuple that begins with one, or a dict with one as \"sample\""));
}

// Floating point as `dtype`; what is not, as it is.
at::Tensor As(at::ScalarType dtype, const at::Tensor& tensor) {
  return tensor.scalar_type() == dtype || !tensor.is_floating_point() ? tensor : tensor.to(dtype);
}

}  // namespace

struct TorchScriptModule::Frozen {
  explicit Frozen(torch::jit::Module frozen)
      : module(std::move(frozen)), forward(module.get_method("forward")) {}

  torch::jit::Module module;
  torch::jit::Method forward;
};

TorchScriptModule::TorchScriptModule(std::unique_ptr<const Frozen> frozen, c10::Device device,
                                     at::ScalarType dtype, bool has_convolutions)
    : frozen_(std::move(frozen)),
      device_(device),
      dtype_(dtype),
      has_convolutions_(has_convolutions) {}

TorchScriptModule::TorchScriptModule(TorchScriptModule&&) noexcept = default;
TorchScriptModule::~TorchScriptModule() = default;

absl::StatusOr<TorchScriptModule> TorchScriptModule::Load(const std::string& path, Layout layout,
                                                          const ForwardSpec& forward,
                                                          c10::Device device) {
  const std::string file = std::filesystem::path(path).filename().string();
  try {
    // Not InferenceMode: the weights' data could not be set then.
    const at::NoGradGuard no_grad;
    const c10::DeviceGuard guard(device);
    torch::jit::Module module = torch::jit::load(path, device);
    module.eval();
    if (absl::Status status = CheckArguments(file, module, forward); !status.ok()) return status;
    // Before freezing, which makes constants of the weights.
    const absl::StatusOr<at::ScalarType> dtype = TypeOfWeights(file, module);
    if (!dtype.ok()) return dtype.status();
    const bool has_convolutions = HasConvolutions(module);
    if (layout == Layout::kChannelsLast) MakeChannelsLast(module);
    MoveConstants(module, device);
    return TorchScriptModule(std::make_unique<Frozen>(Freeze(module)), device, *dtype,
                             has_convolutions);
  } catch (...) {
    const absl::Status status = CurrentExceptionStatus();
    if (absl::IsResourceExhausted(status)) return status;
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is no TorchScript module that can be loaded (", status.message(),
                     "): write it with torch.jit.save, and copy it whole"));
  }
}

absl::StatusOr<at::Tensor> TorchScriptModule::Forward(absl::Span<const at::Tensor> arguments,
                                                      size_t uncast) const {
  try {
    const c10::InferenceMode inference;
    DeviceCall call(device_);
    std::vector<c10::IValue> values;
    values.reserve(1 + arguments.size());  // with self
    for (size_t i = 0; i < arguments.size(); ++i) {
      const at::Tensor argument = call.Up(arguments[i]);
      values.emplace_back(i == uncast ? argument : As(dtype_, argument));
    }
    const absl::StatusOr<at::Tensor> answer = TensorOf(frozen_->forward(std::move(values)));
    if (!answer.ok()) return answer.status();
    return call.Down(As(at::kFloat, *answer));
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
