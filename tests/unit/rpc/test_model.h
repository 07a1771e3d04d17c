// A model for the tests of server/rpc: small pictures, 100 training steps, 10 classes.
#ifndef DENOISE_TESTS_UNIT_RPC_TEST_MODEL_H_
#define DENOISE_TESTS_UNIT_RPC_TEST_MODEL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/engine/model_info.h"

namespace denoise {

inline ModelInfo TestModel(const std::string& name = "digits") {
  ModelInfo model;
  model.name = name;
  model.shape = {1, 2, 3};
  model.num_classes = 10;
  model.null_class = 10;
  model.inputs.push_back(
      {"class_labels", ModelInput::Kind::kClassLabels, ElementType::kInt64, {}, std::nullopt});
  model.default_steps = 20;
  model.default_guidance_scale = 2;
  model.config.class_name = "DDPMScheduler";
  for (int t = 0; t < 100; ++t) model.config.betas.push_back(0.001 + 0.0002 * t);
  model.schedule = NoiseSchedule(model.config.betas);
  model.batch_sizes = {1, 8};
  model.denoiser_seconds = {0.01, 0.04};
  model.numerics_id = "0123456789abcdef";
  TuningResult way;
  way.executor = "torchscript";
  way.layout = "channels_last";
  way.precision = "float32";
  way.replicas = 2;
  way.threads = 3;
  way.batch_size = 8;
  way.rows_per_second = 400;
  way.call_seconds = 0.04;
  way.relative_error = 1e-7;
  way.chosen = true;
  model.tuning = {way};
  return model;
}

inline ModelInfo WithoutClasses() {
  ModelInfo model = TestModel("plain");
  model.num_classes = 0;
  model.null_class = std::nullopt;
  model.inputs.clear();
  return model;
}

inline ModelInfo WithoutNullClass() {
  ModelInfo model = TestModel("conditional");
  model.null_class = std::nullopt;
  return model;
}

// Of latents with four channels, which a decoder makes pictures of.
inline ModelInfo WithDecoder() {
  ModelInfo model = TestModel("latent");
  model.shape = {4, 2, 3};
  model.decoder = DecoderInfo{.sha256 = "", .format = {{3, 4, 6}, 0, 1}, .max_rows = 4};
  return model;
}

// Of which no speed is known, so that no deadline is too early for it.
inline ModelInfo Unmeasured(ModelInfo model) {
  model.denoiser_seconds.clear();
  return model;
}

// One that Evaluate is for.
inline ModelInfo Pictures() {
  ModelInfo model = TestModel();
  model.levels = 256;
  return model;
}

// Also takes a vector, tokens of any number with a mask, and a size that has no null value.
inline ModelInfo Conditioned() {
  ModelInfo model = WithoutClasses();
  model.name = "conditioned";
  model.inputs = {
      {"style", ModelInput::Kind::kCondition, ElementType::kFloat32, {3}, {{1, 2, 3}}},
      {"tokens", ModelInput::Kind::kCondition, ElementType::kInt64, {-1}, {{-5}}},
      {"mask", ModelInput::Kind::kCondition, ElementType::kBool, {-1, 2}, {{1}}},
      {"size", ModelInput::Kind::kCondition, ElementType::kFloat32, {}, std::nullopt},
  };
  return model;
}

// As loaded: with an id of its own.
inline std::shared_ptr<const ModelInfo> Shared(ModelInfo model) {
  static std::atomic<uint64_t> loaded{0};
  model.id = ++loaded;
  return std::make_shared<const ModelInfo>(std::move(model));
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_TEST_MODEL_H_
