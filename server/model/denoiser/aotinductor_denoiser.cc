#include "server/model/denoiser/aotinductor_denoiser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "c10/core/InferenceMode.h"
#include "server/model/folder/file_hash.h"
#include "server/model/folder/package_metadata.h"
#include "server/model/runtime/torch_error.h"
#include "torch/csrc/inductor/aoti_package/model_package_loader.h"
#include "torch/headeronly/version.h"

namespace denoise {
namespace {

using torch::inductor::AOTIModelPackageLoader;

constexpr char kFile[] = "denoiser.pt2";
constexpr char kModel[] = "model";  // the one in the package, as PyTorch names it

at::ScalarType TypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return at::kFloat;
    case ElementType::kInt64:
      return at::kLong;
    case ElementType::kBool:
      return at::kBool;
  }
  return at::kFloat;
}

absl::Status CheckHash(const std::string& path, const std::string& expected) {
  if (expected.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        kFile,
        ": model.json has no sha256_pt2, and a damaged package would crash the server: "
        "export it with models/export_aotinductor.py, which adds the hash"));
  }
  return HashFile(path, "sha256", expected).status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Denoiser>> AotInductorDenoiser::Load(const std::string& path,
                                                                    const ModelInfo& model,
                                                                    int callers) {
  if (absl::Status status = CheckHash(path, model.package_sha256); !status.ok()) return status;
  try {
    const absl::StatusOr<PackageTraits> found =
        CheckPackage(AOTIModelPackageLoader::load_metadata_from_package(path, kModel),
                     ThisPackageHost(TORCH_VERSION), model);
    if (!found.ok()) return found.status();
    std::vector<Argument> arguments = {
        {"x", at::kFloat, {model.shape.channels, model.shape.height, model.shape.width}},
        {"t", found->integer_time ? at::kLong : at::kFloat, {}}};
    for (const ModelInput& input : model.inputs) {
      arguments.push_back({input.name, TypeOf(input.type), input.shape});
    }
    auto package = std::make_unique<AOTIModelPackageLoader>(
        path, kModel, /*run_single_threaded=*/false, static_cast<size_t>(std::max(callers, 1)));
    Traits traits;
    traits.dtype = found->bfloat16 ? at::kBFloat16 : at::kFloat;
    traits.max_rows = found->max_rows;
    traits.file = kFile;
    return std::unique_ptr<Denoiser>(
        new AotInductorDenoiser(std::move(package), std::move(arguments), traits));
  } catch (...) {
    const absl::Status status = CurrentExceptionStatus();
    if (absl::IsResourceExhausted(status)) return status;
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, " cannot be loaded (", status.message(),
                     "): it must be a package of models/export_aotinductor.py, and TMPDIR a folder "
                     "that can be written and run from, because it is unpacked there"));
  }
}

AotInductorDenoiser::~AotInductorDenoiser() = default;

AotInductorDenoiser::AotInductorDenoiser(std::unique_ptr<AOTIModelPackageLoader> package,
                                         std::vector<Argument> arguments, const Traits& traits)
    : Denoiser(traits), package_(std::move(package)), arguments_(std::move(arguments)) {}

absl::Status AotInductorDenoiser::Check(const Argument& argument, const at::Tensor& tensor,
                                        int64_t rows) const {
  std::vector<int64_t> sizes = {rows};
  sizes.insert(sizes.end(), argument.shape.begin(), argument.shape.end());
  if (tensor.scalar_type() == argument.type && tensor.sizes() == at::IntArrayRef(sizes) &&
      tensor.is_contiguous() && tensor.is_cpu()) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat(argument.name, " is ", at::toString(tensor.scalar_type()), " [",
                   absl::StrJoin(tensor.sizes(), ", "), "] with strides [",
                   absl::StrJoin(tensor.strides(), ", "), "], where ", kFile, " takes ",
                   at::toString(argument.type), " [", absl::StrJoin(sizes, ", "), "], contiguous"));
}

absl::StatusOr<at::Tensor> AotInductorDenoiser::Run(const at::Tensor& x, const at::Tensor& t,
                                                    absl::Span<const at::Tensor> further) const {
  try {
    const c10::InferenceMode inference;
    std::vector<at::Tensor> inputs = {x, t};
    inputs.insert(inputs.end(), further.begin(), further.end());
    if (inputs.size() != arguments_.size()) {
      return absl::InternalError(
          absl::StrCat(kFile, " takes ", arguments_.size(), " arguments, not ", inputs.size()));
    }
    const int64_t rows = x.dim() == 0 ? 0 : x.size(0);
    if (rows < 1 || rows > max_rows()) {
      return absl::InternalError(
          absl::StrCat(kFile, " takes 1 to ", max_rows(), " rows, not ", rows));
    }
    if (arguments_[1].type == at::kFloat && t.scalar_type() == at::kLong) {
      inputs[1] = t.to(at::kFloat);
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (absl::Status status = Check(arguments_[i], inputs[i], rows); !status.ok()) return status;
    }
    std::vector<at::Tensor> answers = package_->boxed_run(std::move(inputs));
    if (answers.size() != 1) {
      return absl::InternalError(
          absl::StrCat(kFile, " answered ", answers.size(), " tensors, not one"));
    }
    return std::move(answers[0]);
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
