#include <algorithm>
#include <limits>
#include <utility>

#include "client/cli/flag_types.h"
#include "client/cli/sample_command.h"

namespace denoise::cli {
namespace {

// So many, about, that a chain's film is fluent and its file small.
constexpr uint32_t kFrames = 58;
// Enough for a bar that moves.
constexpr uint32_t kProgressStates = 100;

uint32_t DivideUp(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }

void AddSamplerFlags(CLI::App* app, SampleFlags* flags) {
  const std::string group = "Sampler";
  Sampler* sampler = &flags->sampler;
  AddChoice<Sampler::Kind>(app, "--sampler", &sampler->kind, "How chains are walked [the model's]",
                           {{"ddpm", Sampler::Kind::kDdpm},
                            {"ddim", Sampler::Kind::kDdim},
                            {"euler", Sampler::Kind::kEuler},
                            {"euler_ancestral", Sampler::Kind::kEulerAncestral},
                            {"heun", Sampler::Kind::kHeun},
                            {"dpmpp_2m", Sampler::Kind::kDpmpp2M},
                            {"sde_dpmpp_2m", Sampler::Kind::kSdeDpmpp2M},
                            {"dpmpp_3m", Sampler::Kind::kDpmpp3M},
                            {"unipc", Sampler::Kind::kUniPc},
                            {"lms", Sampler::Kind::kLms},
                            {"pndm", Sampler::Kind::kPndm},
                            {"deis", Sampler::Kind::kDeis}})
      ->group(group);
  app->add_option("--steps", sampler->steps, "Transitions from noise to sample [the model's]")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()))
      ->group(group);
  app->add_option("--eta", sampler->eta,
                  "DDIM's noise: 0 (none, the default) to 1 (as much as DDPM's)")
      ->group(group);
  AddChoice<Sampler::Spacing>(app, "--spacing", &sampler->spacing,
                              "Which timesteps are visited [the model's]",
                              {{"leading", Sampler::Spacing::kLeading},
                               {"trailing", Sampler::Spacing::kTrailing},
                               {"linspace", Sampler::Spacing::kLinspace}})
      ->group(group);
  AddChoice<Sampler::Sigmas>(app, "--sigmas", &sampler->sigmas,
                             "Where the noise levels come from [the model's]",
                             {{"schedule", Sampler::Sigmas::kSchedule},
                              {"karras", Sampler::Sigmas::kKarras},
                              {"exponential", Sampler::Sigmas::kExponential},
                              {"beta", Sampler::Sigmas::kBeta}})
      ->group(group);
  AddChoice<Sampler::Variance>(app, "--variance", &sampler->variance,
                               "DDPM's variance [the model's]",
                               {{"fixed-small", Sampler::Variance::kFixedSmall},
                                {"fixed-large", Sampler::Variance::kFixedLarge},
                                {"learned", Sampler::Variance::kLearned},
                                {"learned-range", Sampler::Variance::kLearnedRange}})
      ->group(group);
  auto* clip = app->add_flag("--clip", flags->clip, "Clip the predicted x_0 [the model's]");
  app->add_flag("--no-clip", flags->no_clip, "Do not")->excludes(clip)->group(group);
  clip->group(group);
  app->add_option("--clip-range", sampler->clip_sample_range, "Bound of the clipping [the model's]")
      ->group(group);
  app->add_flag("--use-clipped-model-output", sampler->use_clipped_model_output,
                "DDIM: derive epsilon anew from the clipped x_0")
      ->group(group);
}

void AddOutputFlags(CLI::App* app, SampleFlags* flags) {
  const std::string group = "Output";
  app->add_option("--out", flags->out,
                  "Write the samples: a .png of all of them in a grid, or their numbers as .npy")
      ->check(FileNamed({".png", ".npy"}))
      ->group(group);
  app->add_option("--animate", flags->animate,
                  "Write how they came about: a .gif, or an animated .png")
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
  app->add_option("--scale", flags->scale, "Size of a sample's pixel in pictures [by its size]")
      ->check(Whole(1, 64))
      ->group(group);
  app->add_flag("--no-preview", flags->no_preview, "Do not draw samples in the terminal")
      ->group(group);
}

}  // namespace

void AddSampleFlags(CLI::App* app, SampleFlags* flags) {
  AddCommonFlags(app, &flags->common);
  AddModelFlags(app, &flags->model);
  app->add_option("--class", flags->classes,
                  "Class of the samples; several (7,3,9) are taken in turn [none]")
      ->delimiter(',');
  app->add_option("--n", flags->num_samples, "Samples [one, or one for each class]")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()));
  app->add_option("--guidance", flags->guidance,
                  "Scale of classifier-free guidance; 0 or 1: none [the model's]");
  app->add_option("--seed", flags->seed, "Sample i is that of seed + i [the server picks one]");
  app->add_option("--initial-noise", flags->initial_noise,
                  "x_T as .npy, [n, C, H, W], standard normal [drawn from the seed]");
  AddSamplerFlags(app, flags);
  AddOutputFlags(app, flags);
  app->callback([flags] {
    if (!flags->content.empty() && !flags->wants_states()) {
      throw CLI::ValidationError("--content", "needs --animate or --states to go to");
    }
  });
}

SampleRequest MakeSampleRequest(const SampleFlags& flags, const Model& model, Tensor noise) {
  SampleRequest request;
  request.model = flags.model.name;
  request.model_version = flags.model.version;
  request.num_samples = flags.num_samples.value_or(
      std::max<uint32_t>(1, static_cast<uint32_t>(flags.classes.size())));
  request.seed = flags.seed;
  request.sampler = flags.sampler;
  if (flags.clip || flags.no_clip) request.sampler.clip_sample = flags.clip;
  request.class_labels = flags.classes;
  if (flags.classes.size() > 1) {
    // Never more labels than were given are made for a count that the server would refuse anyhow.
    constexpr uint32_t kMost = 1 << 20;
    const uint32_t count = std::min(request.num_samples, kMost);
    for (uint32_t i = static_cast<uint32_t>(flags.classes.size()); i < count; ++i) {
      request.class_labels.push_back(flags.classes[i % flags.classes.size()]);
    }
  }
  request.guidance_scale = flags.guidance;
  if (!noise.shape.empty()) request.initial_noise = std::move(noise);

  const uint32_t steps =
      flags.sampler.steps > 0
          ? flags.sampler.steps
          : std::max<uint32_t>(
                1, model.default_steps > 0 ? model.default_steps : model.num_train_timesteps);
  StateStreaming& states = request.states;
  states.every_n_steps = flags.every;
  if (flags.wants_states()) {
    states.steps = {0};
    states.content = flags.content.empty() ? std::vector{Content::kXt} : flags.content;
    if (flags.every == 0) states.every_n_steps = DivideUp(steps, kFrames);
  } else if (flags.every == 0) {
    states.every_n_steps = DivideUp(steps, kProgressStates);
  }
  return request;
}

}  // namespace denoise::cli
