// What everybody but LibTorch's layer needs to know of a model that is served.
#ifndef DENOISE_SERVER_ENGINE_MODEL_INFO_H_
#define DENOISE_SERVER_ENGINE_MODEL_INFO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {

// [C, H, W].
struct SampleShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t values() const { return channels * height * width; }
};

// What numbers of samples are: their shape, and the range that is black to white in pictures.
struct SampleFormat {
  SampleShape shape;
  float value_min = -1;
  float value_max = 1;
};

enum class ElementType : uint8_t { kFloat32, kInt64, kBool };
size_t BytesOf(ElementType type);
absl::string_view Name(ElementType type);  // "float32", "int64", "bool"

// An input of the denoiser after x and t, in the order of its arguments.
struct ModelInput {
  enum class Kind : uint8_t { kClassLabels, kCondition };
  std::string name;
  Kind kind = Kind::kCondition;
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;  // without N; -1: any extent from 1 on
  // Of a condition, what stands for "none": one value for all elements, or one an element (only for
  // shapes without -1). Absent: there is no such thing, and every request gives the input.
  std::optional<std::vector<double>> null_value;
};

// A way to run the model, and what it measured when the model was loaded.
struct TuningResult {
  std::string executor;   // "torchscript"
  std::string layout;     // "contiguous", "channels_last"
  std::string precision;  // as ModelInfo's
  int replicas = 1;
  int threads = 1;  // of each
  int64_t batch_size = 0;
  // With --tune-for throughput of all replicas together, with latency of one alone that runs one
  // row a call. Medians of slices of time in which the ways took turns.
  double rows_per_second = 0;
  double call_seconds = 0;
  // max|a-b| / max|b| of its answers a to those of the plain call b (TorchScript, contiguous, the
  // weights' own precision), on example rows.
  double relative_error = 0;
  bool chosen = false;
};

// What makes pictures (or whatever they stand for) of latents.
struct DecoderInfo {
  std::string sha256;   // of decoder.pt
  SampleFormat format;  // of what it answers; the shape is found by the examination
  // Rows of a call at most, a power of two: 1 where bits must not depend on the other samples, and
  // else few enough that a call needs no more memory than there must be.
  int64_t max_rows = 1;
};

// Immutable once the model is served; shared by shared_ptr<const ModelInfo>.
struct ModelInfo {
  // Of this load of it: a model that is reloaded under its old name and version has another.
  uint64_t id = 0;
  // From model.json and the folder's name.
  std::string name;
  int64_t version = 1;
  std::string sha256;          // of denoiser.pt; where there is none, of denoiser.pt2
  std::string package_sha256;  // of denoiser.pt2; empty: not said
  SampleShape shape;
  float value_min = -1;
  float value_max = 1;
  int64_t num_classes = 0;  // 0: the denoiser takes x and t only
  std::optional<int64_t> null_class;
  std::vector<ModelInput> inputs;  // class labels among them where num_classes > 0
  // Values that an element of a sample can have, evenly over value_min..value_max; 0: not said.
  int64_t levels = 0;
  std::optional<SamplerKind> default_sampler;  // else the config's
  uint32_t default_steps = 50;
  float default_guidance_scale = 1;
  // Where the folder has one; samples are its latents then.
  std::optional<DecoderInfo> decoder;

  // From scheduler_config.json.
  SchedulerConfig config;
  NoiseSchedule schedule{{}};

  // Found by the examination.
  bool learned_variance = false;  // the denoiser gives 2C channels
  bool integer_time = false;      // t must be int64: samplers with fractional times are refused
  std::string layout;             // "contiguous", "channels_last"
  // That most is computed in: the weights' own, float32, float16, bfloat16 or float64, or bfloat16
  // under autocast, at call time or when a package was compiled.
  std::string precision = "float32";
  std::string executor = "torchscript";  // what runs the denoiser; or "aotinductor"
  // Batch sizes that are run, ascending; denoiser_seconds[i] is the measured time of one call at
  // batch_sizes[i] on one replica while the others are idle.
  std::vector<int64_t> batch_sizes;
  std::vector<double> denoiser_seconds;
  // Whether those sizes agree bit for bit, so that a row's bits are the same in any batch.
  bool batch_invariant = false;
  int replicas = 1;
  int threads = 1;
  // The ways that were compared, the one that is run marked as chosen: one alone where nothing was
  // tuned, whose rows a second are then what one replica measured alone times the replicas.
  std::vector<TuningResult> tuning;
  // Equal on servers whose answers are equal: see server/model/examination/numerics_id.h.
  std::string numerics_id;

  // What the denoiser answers for a sample, [C, H, W] or [2C, H, W].
  SampleShape answer_shape() const;
  // Of samples as they are, or as the decoder, which there must be then, makes them.
  SampleFormat format(bool decoded) const;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_MODEL_INFO_H_
