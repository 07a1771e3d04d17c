// The models of the Open Inference Protocol: for every model NAME that is served, NAME, which is
// its denoiser, and NAME.sample, which draws samples from it.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_MODEL_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/rpc/catalog.h"

namespace denoise {

// Of those that the protocol knows, the data types that are used here.
enum class InferType : uint8_t { kBool, kInt32, kUint32, kInt64, kUint64, kFp32, kBytes };

absl::string_view Name(InferType type);  // "FP32"
std::optional<InferType> InferTypeOf(absl::string_view name);
// Of an element; 0 for kBytes, whose elements have any.
size_t BytesOf(InferType type);
InferType InferTypeOf(ElementType type);

// An input or output as the model describes it.
struct TensorSpec {
  std::string name;
  InferType type = InferType::kFp32;
  std::vector<int64_t> shape;  // -1: any extent
  bool optional = false;       // of an input: it may be left out
};

enum class InferKind : uint8_t { kDenoiser, kSampling };

struct InferModel {
  std::shared_ptr<const ModelInfo> info;
  InferKind kind = InferKind::kDenoiser;

  // "digits", "digits.sample".
  std::string name() const;
};

// The name by which a condition of the model is an input here: its own, or "condition_NAME" where
// that is already an input of `kind`.
std::string ConditionName(const ModelInput& condition, InferKind kind);
// That of the input which takes class labels: of a denoiser as model.json calls it, else
// "class_label".
std::string LabelName(const ModelInfo& model, InferKind kind);

std::vector<TensorSpec> InputsOf(const InferModel& model);
// Intermediate states of NAME.sample are among them.
std::vector<TensorSpec> OutputsOf(const InferModel& model);

struct InferEntry {
  InferModel model;
  ModelStatus status = ModelStatus::kServing;
};

// The model that a request names, by the catalog's rules for names and versions (empty: the
// newest). A model of the catalog whose own name ends in ".sample" goes before the samples of
// another. NOT_FOUND; a FieldError "model_name", "model_version".
absl::StatusOr<InferEntry> FindInferModel(const Catalog& catalog, absl::string_view name,
                                          absl::string_view version);
// The same for work: also UNAVAILABLE where it is not served now.
absl::StatusOr<InferModel> FindServingInferModel(const Catalog& catalog, absl::string_view name,
                                                 absl::string_view version);
// By name, then version, the two of a model side by side.
std::vector<InferEntry> AllInferModels(const Catalog& catalog);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_MODEL_H_
