// A denoiser that is an AOTInductor package: compiled ahead of time by
// models/export_aotinductor.py.
#ifndef DENOISE_SERVER_MODEL_DENOISER_AOTINDUCTOR_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_AOTINDUCTOR_DENOISER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"

namespace torch::inductor {
class AOTIModelPackageLoader;
}  // namespace torch::inductor

namespace denoise {

class AotInductorDenoiser : public Denoiser {
 public:
  ~AotInductorDenoiser() override;

  // Checks the package's hash, which must be model.package_sha256, because LibTorch may crash on a
  // damaged one, and what it says of itself (package_metadata.h); then unpacks it into TMPDIR (or
  // /tmp) and maps it. `callers`: how many threads Run() is called from at once; more would wait.
  // INVALID_ARGUMENT or NOT_FOUND, in one line that says what would be right; RESOURCE_EXHAUSTED
  // where memory ran out.
  static absl::StatusOr<std::unique_ptr<Denoiser>> Load(const std::string& path,
                                                        const ModelInfo& model, int callers);

  // Types and shapes are checked here, because the package's code does not. Where it was compiled
  // for float32 t it takes int64 too, otherwise int64 only.
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override;

  absl::string_view executor() const override { return "aotinductor"; }

 private:
  // An argument as it was compiled for.
  struct Argument {
    std::string name;
    at::ScalarType type = at::kFloat;
    std::vector<int64_t> shape;  // of a row
  };

  AotInductorDenoiser(std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package,
                      std::vector<Argument> arguments, const Traits& traits);

  absl::Status Check(const Argument& argument, const at::Tensor& tensor, int64_t rows) const;

  const std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package_;
  const std::vector<Argument> arguments_;  // x, t, further…
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_AOTINDUCTOR_DENOISER_H_
