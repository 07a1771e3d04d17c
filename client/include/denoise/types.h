// What is asked of a Denoised server and what it answers: plain values that can be copied, without
// types of gRPC or Protobuf. Shapes are [N, C, H, W]; T is the number of a model's training steps;
// timesteps run from 0 (nearly clean) to T-1 (noise); alpha_bar_t = alpha_t^2 of the forward
// process q(x_t|x_0) = N(alpha_t x_0, sigma_t^2 I), sigma_t = sqrt(1 - alpha_bar_t).
#ifndef DENOISE_TYPES_H_
#define DENOISE_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "denoise/tensor.h"

namespace denoise {
// Names of its own for the linker, so that a program may hold client and server.
inline namespace client_v1 {

// What a State shows.
enum class Content {
  kNone,         // nothing: progress alone
  kXt,           // x_t
  kPredictedX0,  // the prediction of x_0 that the last step was made with
};

// How samples and states are sent.
enum class Encoding {
  kRaw,  // float32, in the model's own range
  // 8-bit pictures of that range; for models with 1 or 3 channels. Of a model with a decoder they
  // show what is decoded, whether `decode` is set or not.
  kPng,
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
  bool use_clipped_model_output = false;        // DDIM: epsilon from the clipped x_0
  // Model times of the denoiser calls, strictly descending, each 0..T-1, in place of `steps`,
  // `spacing` and `sigmas`. Whole for DDPM, DDIM, PNDM, and for models that take no others.
  std::vector<float> timesteps = {};
  // Dynamic thresholding of the predicted x_0, Saharia et al. 2022. Absent: as the model says.
  std::optional<bool> thresholding = {};
  // Flow models only, > 0: the shift of their noise levels. Absent: the model's; needed by models
  // with dynamic shifting, which have none of their own.
  std::optional<float> flow_shift = {};
};

// Which states are streamed. Step k is the state after k transitions: 0 is x_T, the last is x_0.
struct StateStreaming {
  uint32_t every_n_steps = 0;    // and always the last; 0: none but those in `steps`
  std::vector<uint32_t> steps;   // besides those
  std::vector<Content> content;  // of each; none: States without data
  Encoding encoding = Encoding::kRaw;
  // Models with a decoder only: the data goes through it, and has Model::decoded_shape.
  bool decode = false;
};

// Where guidance acts, in s = sigma/alpha of x_t: where sigma_min < s <= sigma_max. Elsewhere the
// conditional prediction alone is used, at half the cost.
struct GuidanceInterval {
  float sigma_min = 0;
  float sigma_max = 0;  // 0: no upper bound
};

// Begins from a noised image rather than from noise.
struct ImageToImage {
  Tensor image;  // [1 or n, C, H, W], in the model's value range
  // Above 0, at most 1: the last floor(steps * strength) of the steps are run.
  float strength = 0.8f;
};

// Samples what a mask leaves open, and keeps the rest of an image.
struct Inpainting {
  Tensor image;  // [1 or n, C, H, W], in the model's value range
  Tensor mask;   // [1 or n, 1 or C, H, W], each 0..1; 1 keeps the image
  // Resampling (RePaint, Lugmayr et al. 2022), for DDPM, DDIM, Euler and Euler ancestral: after
  // every jump_length steps go back by as many, until they were made jump_samples times. 0: none.
  uint32_t jump_length = 0;
  uint32_t jump_samples = 0;
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
  // Further inputs of the denoiser by name, as in Model::inputs: [1, …] for all samples or [n, …].
  // Absent: the model's null value, where it has one.
  std::map<std::string, Array> conditions = {};
  // What guidance leads away from, in place of the null class and of null values.
  std::vector<int64_t> negative_class_labels = {};
  std::map<std::string, Array> negative_conditions = {};
  // 0..1: how far the guided prediction is brought back to the standard deviation of the
  // conditional one, Lin et al. 2024.
  float guidance_rescale = 0;
  std::optional<GuidanceInterval> guidance_interval = {};  // absent: everywhere
  // A chain begins from one of initial_noise and image_to_image; both: INVALID_ARGUMENT.
  std::optional<ImageToImage> image_to_image = {};
  std::optional<Inpainting> inpainting = {};
  // -100..100: higher goes first, until others are older than the server's --max-wait.
  int32_t priority = 0;
  // Models with a decoder only: the Result's samples go through it, and have Model::decoded_shape.
  // What a request brings is latents in any case.
  bool decode = false;
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

// Bounds the log-likelihood of given samples, term by term. Not for flow models, nor for models
// whose samples are not pictures of 256 levels.
struct EvaluateRequest {
  std::string model = {};  // empty: the only one that is served
  int64_t model_version = 0;
  Tensor x_0;                              // [n, C, H, W], in the model's value range
  std::optional<uint64_t> seed = {};       // as in SampleRequest; one draw a term
  std::vector<int64_t> class_labels = {};  // none, one for all, or one a sample
  std::map<std::string, Array> conditions = {};
  // 0: all T, the bound itself. 2..T: an estimate from that many, one drawn from each of as many
  // strata of equal width in log-SNR, and from the exact terms at t = 0 and of the prior.
  uint32_t num_timesteps = 0;
  std::optional<bool> clip_sample = {};  // absent: as the model says
  int32_t priority = 0;                  // as in SampleRequest
};

// First of every stream: the request is valid and queued.
struct Accepted {
  std::string request_id;  // also in the server's log
  std::string model;
  int64_t model_version = 0;
  uint64_t seed = 0;
  uint32_t total_steps = 0;
  // Model time of each step's denoiser call, [total_steps], descending. Diffuse: those asked for.
  // Evaluate: those of the terms, whole and strictly descending.
  std::vector<float> timesteps;
  // alpha_bar after k steps, [total_steps + 1]. Diffuse and Evaluate: that of each timestep.
  std::vector<float> alpha_bars;
  uint32_t queue_position = 0;  // requests before this one
  absl::Duration estimated_wait;
  std::string numerics_id;  // as Model's
};

struct State {
  uint32_t sample_index = 0;
  uint32_t step = 0;  // ascending for a sample
  uint32_t total_steps = 0;
  float timestep = 0;  // -1: a clean x_0
  float alpha_bar = 0;
  float sigma = 0;
  Content content = Content::kNone;
  Tensor tensor;    // [1, C, H, W], as decoded; empty unless the encoding is kRaw
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
  Tensor samples;                 // [n, C, H, W], as decoded; empty unless the encoding is kRaw
  std::vector<std::string> pngs;  // [n]; empty unless the encoding is kPng
  Timing timing;
  uint32_t states_dropped = 0;  // because they were read slower than they came
  uint64_t denoiser_rows = 0;   // evaluations spent; guided ones count twice
};

// A summand of the bound: KL(q(x_{t-1}|x_t,x_0) || p(x_{t-1}|x_t)), or -log p(x_0|x_1) at t = 0.
// All of these values are finite.
struct Term {
  uint32_t timestep = 0;
  std::vector<double> bits_per_dim;  // [n]
  std::vector<double> eps_mse;       // of the predicted epsilon, [n]
  std::vector<double> x_0_mse;       // of the predicted x_0, [n]
};

// Last of an Evaluate's stream. Finite too.
struct Likelihood {
  std::vector<double> total_bits_per_dim;  // upper bound of -log2 p(x_0), or its estimate, [n]
  std::vector<double> prior_bits_per_dim;  // its summand KL(q(x_T|x_0) || N(0, I)), [n]
  std::vector<double> standard_error;      // of the total as an estimate, [n]; 0: all was computed
};

// Of a Sample: Accepted once, States, then one Result.
using Event = std::variant<Accepted, State, Result>;
// Of a Diffuse: Accepted once, then every State that was asked for.
using DiffuseEvent = std::variant<Accepted, State>;
// Of an Evaluate: Accepted once, a Term for each of its timesteps in any order, then one
// Likelihood.
using EvaluateEvent = std::variant<Accepted, Term, Likelihood>;

// A further input of a denoiser, besides x and t.
struct ModelInput {
  std::string name;
  std::string kind;            // class_labels or condition
  std::vector<int64_t> shape;  // without N; -1: any extent
  DataType dtype = DataType::kUnknown;
};

// A way to run a model, and what it measured when the server loaded the model.
struct TuningResult {
  std::string executor;
  std::string layout;
  std::string precision;
  uint32_t replicas = 0;
  uint32_t threads = 0;     // of each replica
  uint32_t batch_size = 0;  // rows of a call
  // Of all replicas together; tuned for latency, of one alone with calls of one row.
  double rows_per_second = 0;
  double call_seconds = 0;
  double relative_error = 0;  // against the plain call, max|a-b| / max|b|
  bool chosen = false;
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
  std::string prediction_type;  // epsilon, v_prediction, sample or flow_prediction
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
  std::vector<TuningResult> tuning;
  // Servers with equal ids run equal calls; with --batch-invariant their results are equal to the
  // last bit.
  std::string numerics_id;
  // Whether samples are latents, which the model's decoder makes into what they stand for.
  bool has_decoder = false;
  std::vector<int64_t> decoded_shape = {};  // [C, H, W]; empty without a decoder
  float decoded_value_min = 0;              // of what is decoded
  float decoded_value_max = 0;
};

// "SERVING" and the like.
const char* Name(Model::Status status);

// Every sampler by its name, such as {"ddpm", kDdpm}, in the order in which a user is told them;
// without kModelDefault, which is none.
const std::vector<std::pair<std::string, Sampler::Kind>>& NamedSamplers();

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_TYPES_H_
