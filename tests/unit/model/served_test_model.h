// Models that make_models.py has written, loaded as the server does it.
#ifndef DENOISE_TESTS_UNIT_MODEL_SERVED_TEST_MODEL_H_
#define DENOISE_TESTS_UNIT_MODEL_SERVED_TEST_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/model/served_model.h"

namespace denoise {

inline std::string TestModelFolder(absl::string_view name) {
  return absl::StrCat(DENOISE_TEST_MODELS, "/", name);
}

// Loads and examines; the calling thread plays the engine's.
inline absl::StatusOr<std::shared_ptr<ServedModel>> ServeTestModel(
    absl::string_view name, const LoadOptions& options = {}) {
  PrepareProcess();
  PrepareEngineThread(1);
  auto model = ServedModel::Load({.path = TestModelFolder(name)}, options);
  if (!model.ok()) return model.status();
  if (absl::Status status = (*model)->Examine(); !status.ok()) return status;
  return model;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_MODEL_SERVED_TEST_MODEL_H_
