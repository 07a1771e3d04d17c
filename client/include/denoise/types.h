// What is asked of a Denoised server and what it answers: plain values that can be copied, with no
// trace of the wire. Shapes are [N, C, H, W]; T is the number of a model's training steps;
// timesteps run from 0 (nearly clean) to T-1 (noise); alpha_bar_t = alpha_t^2 of the forward
// process q(x_t|x_0) = N(alpha_t x_0, sigma_t^2 I), sigma_t = sqrt(1 - alpha_bar_t).
#ifndef DENOISE_TYPES_H_
#define DENOISE_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"

namespace denoise {
// Names of its own for the linker, so that a program may hold client and server.
inline namespace client_v1 {

// A dense float32 array, row-major.
struct Tensor {
  std::vector<int64_t> shape;  // extents, outermost first, all positive
  std::vector<float> values;   // product(shape) of them
};

// What a State shows.
enum class Content {
  kNone,         // nothing: progress alone
  kXt,           // x_t
  kPredictedX0,  // the prediction of x_0 that the last step was made with
};

// How samples and states are sent.
enum class Encoding {
  kRaw,  // float32, in the model's own range
  kPng,  // 8-bit pictures of that range; for models with 1 or 3 channels
};

// Which transitions a chain makes, at which times, with how much noise.
struct Sampler {
  enum class Kind {
    kModelDefault,
    kDdpm,  // ancestral, Ho et al. 2020
    kDdim,  // Song et al. 2021
    kEuler,
    kEulerAncestral,
    kHeun,  // two denoiser calls a step
    kDpmpp2M,
    kSdeDpmpp2M,
    kDpmpp3M,
    kUniPc,
    kLms,
    kPndm,
    kDeis,
  };
  // Where the noise levels come from: the schedule at the times of the spacing, or a curve between
  // its ends.
  enum class Sigmas { kModelDefault, kSchedule, kKarras, kExponential, kBeta };
  enum class Spacing { kModelDefault, kLeading, kTrailing, kLinspace };
  enum class Variance { kModelDefault, kFixedSmall, kFixedLarge, kLearned, kLearnedRange };

  Kind kind = Kind::kModelDefault;
  uint32_t steps = 0;  // 1..T; 0: the model's default
  float eta = 0;       // DDIM: 0 (deterministic) to 1 (as noisy as DDPM)
  Spacing spacing = Spacing::kModelDefault;
  Sigmas sigmas = Sigmas::kModelDefault;        // not for DDPM, DDIM and PNDM
  Variance variance = Variance::kModelDefault;  // DDPM
  std::optional<bool> clip_sample;              // absent: as the model says
  std::optional<float> clip_sample_range;       // > 0
  bool use_clipped_model_output = false;        // DDIM: epsilon anew from the clipped x_0
};

// Which states are streamed. Step k is the state after k transitions: 0 is x_T, the last is x_0.
struct StateStreaming {
  uint32_t every_n_steps = 0;    // and always the last; 0: none but those in `steps`
  std::vector<uint32_t> steps;   // besides those
  std::vector<Content> content;  // of each; none: States without data
  Encoding encoding = Encoding::kRaw;
};

// Runs the reverse process.
struct SampleRequest {
  std::string model;          // empty: the only one that is served
  int64_t model_version = 0;  // 0: the newest
  uint32_t num_samples = 1;
  // Sample i draws its noise as torch.Generator("cpu").manual_seed(seed + i) does; only the low 32
  // bits count. Absent: the server picks one and says so in Accepted.
  std::optional<uint64_t> seed;
  Sampler sampler;
  std::vector<int64_t> class_labels;    // none, one for all, or one a sample
  std::optional<float> guidance_scale;  // absent: the model's default
  std::optional<Tensor> initial_noise;  // standard normal, [n, C, H, W], in place of the first draw
  StateStreaming states;
  Encoding encoding = Encoding::kRaw;  // of the Result
};

// Runs the forward process on given samples.
struct DiffuseRequest {
  std::string model;  // whose schedule is meant; empty: the only one
  int64_t model_version = 0;
  Tensor x_0;  // [n, C, H, W], in the model's value range
  std::optional<uint64_t> seed;
  std::vector<uint32_t> timesteps;  // at least one, strictly ascending, each 0..T-1
  // true: walk q(x_t|x_{t-1}), so that the states of a sample belong together. false: draw each
  // state from q(x_t|x_0) by itself.
  bool chain = false;
  Encoding encoding = Encoding::kRaw;
};

// First of every stream: the request is valid and queued.
struct Accepted {
  std::string request_id;  // also in the server's log
  std::string model;
  int64_t model_version = 0;
  uint64_t seed = 0;
  uint32_t total_steps = 0;
  // Model time of each step's denoiser call, [total_steps], descending. Diffuse: those asked for.
  std::vector<float> timesteps;
  // alpha_bar after k steps, [total_steps + 1]. Diffuse: that of each timestep.
  std::vector<float> alpha_bars;
  uint32_t queue_position = 0;  // requests before this one
  absl::Duration estimated_wait;
};

struct State {
  uint32_t sample_index = 0;
  uint32_t step = 0;  // ascending for a sample
  uint32_t total_steps = 0;
  float timestep = 0;  // -1: a clean x_0
  float alpha_bar = 0;
  float sigma = 0;
  Content content = Content::kNone;
  Tensor tensor;    // [1, C, H, W]; empty unless the encoding is kRaw
  std::string png;  // a PNG file; empty unless the encoding is kPng
};

// Measured by the server, from the request's arrival on.
struct Timing {
  absl::Duration queue;
  absl::Duration sampling;
  std::optional<absl::Duration> first_state;
  absl::Duration total;
};

// Last of a Sample's stream.
struct Result {
  Tensor samples;                 // [n, C, H, W]; empty unless the encoding is kRaw
  std::vector<std::string> pngs;  // [n]; empty unless the encoding is kPng
  Timing timing;
  uint32_t states_dropped = 0;  // because they were read slower than they came
  uint64_t denoiser_rows = 0;   // evaluations spent; guided ones count twice
};

// Of a Sample: Accepted once, States, then one Result.
using Event = std::variant<Accepted, State, Result>;
// Of a Diffuse: Accepted once, then every State that was asked for.
using DiffuseEvent = std::variant<Accepted, State>;

// A further input of a denoiser, besides x and t.
struct ModelInput {
  std::string name;
  std::string kind;
  std::vector<int64_t> shape;  // without N
};

struct Model {
  enum class Status { kUnknown, kLoading, kServing, kDraining };
  std::string name;
  int64_t version = 0;
  Status status = Status::kUnknown;
  std::vector<int64_t> sample_shape;  // [C, H, W]
  float value_min = 0;                // of clean samples
  float value_max = 0;
  int64_t num_classes = 0;            // 0: unconditional
  std::optional<int64_t> null_class;  // the label that stands for "no class"
  std::vector<ModelInput> inputs;
  std::string prediction_type;  // epsilon, v_prediction or sample
  std::string scheduler;
  uint32_t num_train_timesteps = 0;  // T
  std::vector<float> alpha_bars;     // [T]
  uint32_t default_steps = 0;
  float default_guidance_scale = 0;
  std::string layout;
  std::string precision;
  std::string executor;
  uint32_t replicas = 0;
  uint32_t threads = 0;  // of each replica
  std::vector<uint32_t> batch_sizes;
  std::string sha256;  // of the weights
};

// "SERVING" and the like.
const char* Name(Model::Status status);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_TYPES_H_
