#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "client/cli/files.h"
#include "client/cli/flags/flag_types.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/cli/pictures/input_files.h"
#include "client/cli/sample_command.h"

namespace denoise::cli {
namespace {

// About as many states as make a smooth animation and a small file.
constexpr uint32_t kFrames = 58;
// Enough for a bar that moves.
constexpr uint32_t kProgressStates = 100;

uint32_t DivideUp(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }

void AddGuidanceFlags(CLI::App* app, SampleFlags* flags) {
  const std::string group = "Guidance";
  app->add_option("--guidance", flags->guidance,
                  "Scale of classifier-free guidance; 0 or 1: none [the model's]")
      ->group(group);
  app->add_option("--guidance-rescale", flags->guidance_rescale,
                  "0 to 1: how far the standard deviation is brought back to that without "
                  "guidance [0]")
      ->group(group);
  app->add_option_function<std::string>(
         "--guidance-interval",
         [flags](const std::string& text) {
           const std::vector<std::string> parts = absl::StrSplit(text, ',');
           GuidanceInterval interval;
           if (parts.size() != 2 || !absl::SimpleAtof(parts[0], &interval.sigma_min) ||
               !absl::SimpleAtof(parts[1], &interval.sigma_max)) {
             throw CLI::ValidationError("--guidance-interval",
                                        "'" + text + "' is not MIN,MAX: write for example 0.3,5");
           }
           flags->guidance_interval = interval;
         },
         "Guide only where MIN < sigma/alpha <= MAX; MAX 0: no bound [everywhere]")
      ->type_name("MIN,MAX")
      ->group(group);
  app->add_option("--negative-class", flags->negative_classes,
                  "Class to guide away from; several are taken in turn [the null class]")
      ->delimiter(',')
      ->group(group);
  AddNamedFiles(app, "--negative-condition", &flags->negative_conditions,
                "Further input to guide away from; may be repeated [the model's null]")
      ->group(group);
}

void AddImageFlags(CLI::App* app, SampleFlags* flags) {
  const std::string group = "From images (.png, or numbers as .npy)";
  const auto files = FileNamed({".png", ".npy"});
  const auto positive = Whole(1, std::numeric_limits<uint32_t>::max());
  auto* image = app->add_option("--image", flags->images,
                                "Begin from this image, noised, rather than from noise")
                    ->check(files)
                    ->excludes(app->get_option("--initial-noise"))
                    ->group(group);
  app->add_option("--strength", flags->strength,
                  "How much of it is replaced: above 0, up to 1 [0.8]")
      ->needs(image)
      ->group(group);
  auto* inpaint = app->add_option("--inpaint", flags->inpaint, "Keep a part of this image")
                      ->check(files)
                      ->group(group);
  auto* mask = app->add_option("--mask", flags->mask, "Which part: white (1) keeps the image")
                   ->check(files)
                   ->needs(inpaint)
                   ->group(group);
  inpaint->needs(mask);
  auto* length = app->add_option("--jump-length", flags->jump_length,
                                 "RePaint: after so many steps go back by as many ...")
                     ->check(positive)
                     ->needs(inpaint)
                     ->group(group);
  auto* samples = app->add_option("--jump-samples", flags->jump_samples,
                                  "... until each was made so many times [no resampling]")
                      ->check(positive)
                      ->needs(length)
                      ->group(group);
  length->needs(samples);
}

void AddOutputFlags(CLI::App* app, SampleFlags* flags) {
  const std::string group = "Output";
  app->add_option("--out", flags->out,
                  "Write the samples: a .png of all of them in a grid, or their numbers as .npy")
      ->check(FileNamed({".png", ".npy"}))
      ->group(group);
  app->add_option("--animate", flags->animate,
                  "Write the chains as an animation: a .gif, or an animated .png")
      ->check(FileNamed({".gif", ".png"}))
      ->group(group);
  app->add_option("--states", flags->states,
                  "Write the streamed states' numbers: .npy, [steps, content, n, C, H, W]")
      ->check(FileNamed({".npy"}))
      ->group(group);
  app->add_option("--every", flags->every,
                  "Stream every so many steps [about 60 a chain for --animate]")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()))
      ->group(group);
  app->add_option_function<std::vector<std::string>>(
         "--content",
         [flags](const std::vector<std::string>& names) {
           for (const auto& name : names) {
             flags->content.push_back(Choose<Content>(
                 "--content", name, {{"x_t", Content::kXt}, {"x_0", Content::kPredictedX0}}));
           }
         },
         "What of each step, for --animate and --states: x_t (the default), x_0 (as predicted)")
      ->type_name("x_t|x_0")
      ->delimiter(',')
      ->group(group);
  app->add_flag("--decode", flags->decode,
                "Of a model with a decoder write decoded numbers to .npy too; pictures, and with "
                "--animate all states, always are [latents]")
      ->group(group);
  app->add_option("--scale", flags->scale, "Size of a sample's pixel in pictures [by its size]")
      ->check(Whole(1, 64))
      ->group(group);
  app->add_flag("--no-preview", flags->no_preview, "Do not draw samples in the terminal")
      ->group(group);
}

// Labels for `count` samples, taken in turn where there are several.
std::vector<int64_t> InTurn(const std::vector<int64_t>& labels, uint32_t count) {
  if (labels.size() <= 1) return labels;
  // Never more labels than were given are made for a count that the server would refuse anyhow.
  constexpr uint32_t kMost = 1 << 20;
  std::vector<int64_t> all = labels;
  for (size_t i = labels.size(); i < std::min(count, kMost); ++i) {
    all.push_back(labels[i % labels.size()]);
  }
  return all;
}

// As many samples as there are classes, or as the largest of the files holds.
uint32_t NumSamples(const SampleFlags& flags, const SampleRequest& inputs) {
  if (flags.num_samples) return *flags.num_samples;
  size_t count = std::max<size_t>(1, flags.classes.size());
  const auto grow = [&count](const auto& tensor) {
    if (!tensor.shape.empty()) count = std::max(count, static_cast<size_t>(tensor.shape[0]));
  };
  if (inputs.initial_noise) grow(*inputs.initial_noise);
  if (inputs.image_to_image) grow(inputs.image_to_image->image);
  if (inputs.inpainting) grow(inputs.inpainting->image);
  if (inputs.inpainting) grow(inputs.inpainting->mask);
  for (const auto& [name, array] : inputs.conditions) grow(array);
  return static_cast<uint32_t>(count);  // of files of at most 1 GiB
}

// About how many steps the server will make.
uint32_t NumSteps(const SampleRequest& request, const Model& model) {
  uint32_t steps = model.default_steps > 0 ? model.default_steps : model.num_train_timesteps;
  if (request.sampler.steps > 0) steps = request.sampler.steps;
  if (!request.sampler.timesteps.empty()) {
    steps = static_cast<uint32_t>(request.sampler.timesteps.size());
  }
  if (request.image_to_image) {
    const double part = std::clamp(static_cast<double>(request.image_to_image->strength), 0.0, 1.0);
    steps = static_cast<uint32_t>(steps * part);
  }
  return std::max<uint32_t>(1, steps);
}

}  // namespace

void AddSampleFlags(CLI::App* app, SampleFlags* flags) {
  AddCommonFlags(app, &flags->common);
  AddModelFlags(app, &flags->model);
  app->add_option("--class", flags->classes,
                  "Class of the samples; several (7,3,9) are taken in turn [none]")
      ->delimiter(',');
  app->add_option("--n", flags->num_samples, "Samples [one, or one for each class, image, ...]")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()));
  app->add_option("--seed", flags->seed, "Sample i is that of seed + i [the server picks one]");
  app->add_option("--initial-noise", flags->initial_noise,
                  "x_T as .npy, [n, C, H, W], standard normal [drawn from the seed]");
  AddNamedFiles(app, "--condition", &flags->conditions,
                "Further input of the model, [1 or n, ...]; may be repeated [the model's null]");
  AddPriorityFlag(app, &flags->priority);
  AddSamplerFlags(app, &flags->sampler);
  AddGuidanceFlags(app, flags);
  AddImageFlags(app, flags);
  AddOutputFlags(app, flags);
  app->callback([flags] {
    if (!flags->content.empty() && !flags->wants_states()) {
      throw CLI::ValidationError("--content", "needs --animate or --states to go to");
    }
  });
}

absl::StatusOr<SampleRequest> ReadSampleInputs(const SampleFlags& flags, const Model& model) {
  SampleRequest request;
  absl::Status status;
  // The value. An error is kept; the default that then stands in is never used.
  const auto take = [&status](auto value) {
    status.Update(value.status());
    return value.ok() ? *std::move(value) : typename decltype(value)::value_type();
  };
  if (!flags.initial_noise.empty()) {
    request.initial_noise = take(ReadTensor("--initial-noise", flags.initial_noise));
  }
  if (!flags.images.empty()) {
    request.image_to_image = {.image = take(ReadSamples("--image", flags.images, model)),
                              .strength = flags.strength};
  }
  if (!flags.inpaint.empty()) {
    request.inpainting = {.image = take(ReadSamples("--inpaint", flags.inpaint, model)),
                          .mask = take(ReadMask("--mask", flags.mask, model)),
                          .jump_length = flags.jump_length,
                          .jump_samples = flags.jump_samples};
  }
  request.conditions = take(ReadArrays("--condition", flags.conditions));
  request.negative_conditions = take(ReadArrays("--negative-condition", flags.negative_conditions));
  if (!status.ok()) return status;
  return request;
}

SampleRequest MakeSampleRequest(const SampleFlags& flags, const Model& model,
                                SampleRequest request) {
  request.model = flags.model.name;
  request.model_version = flags.model.version;
  request.num_samples = NumSamples(flags, request);
  request.seed = flags.seed;
  request.priority = flags.priority;
  request.sampler = flags.sampler;
  request.class_labels = InTurn(flags.classes, request.num_samples);
  request.guidance_scale = flags.guidance;
  request.guidance_rescale = flags.guidance_rescale;
  request.guidance_interval = flags.guidance_interval;
  request.negative_class_labels = InTurn(flags.negative_classes, request.num_samples);

  const bool numbers = HasExtension(flags.out, ".npy");
  request.decode = flags.decode || (model.has_decoder && !numbers);

  const uint32_t steps = NumSteps(request, model);
  StateStreaming& states = request.states;
  states.every_n_steps = flags.every;
  if (flags.wants_states()) {
    states.steps = {0};
    states.content = flags.content.empty() ? std::vector{Content::kXt} : flags.content;
    states.decode = flags.decode || (model.has_decoder && !flags.animate.empty());
    if (flags.every == 0) states.every_n_steps = DivideUp(steps, kFrames);
  } else if (flags.every == 0) {
    states.every_n_steps = DivideUp(steps, kProgressStates);
  }
  return request;
}

}  // namespace denoise::cli
