#include "client/cli/flags/sampler_flags.h"

#include <limits>
#include <string>

#include "client/cli/flags/flag_types.h"

namespace denoise::cli {

void AddSamplerFlags(CLI::App* app, Sampler* sampler) {
  const std::string group = "Sampler";
  AddChoice<Sampler::Kind>(app, "--sampler", &sampler->kind, "The sampler [the model's]",
                           NamedSamplers())
      ->group(group);
  auto* steps =
      app->add_option("--steps", sampler->steps, "Transitions from noise to sample [the model's]")
          ->check(Whole(1, std::numeric_limits<uint32_t>::max()))
          ->group(group);
  app->add_option("--eta", sampler->eta,
                  "DDIM's noise: 0 (none, the default) to 1 (as much as DDPM's)")
      ->group(group);
  auto* spacing = AddChoice<Sampler::Spacing>(app, "--spacing", &sampler->spacing,
                                              "Which timesteps are visited [the model's]",
                                              {{"leading", Sampler::Spacing::kLeading},
                                               {"trailing", Sampler::Spacing::kTrailing},
                                               {"linspace", Sampler::Spacing::kLinspace}})
                      ->group(group);
  auto* sigmas = AddChoice<Sampler::Sigmas>(app, "--sigmas", &sampler->sigmas,
                                            "Where the noise levels come from [the model's]",
                                            {{"schedule", Sampler::Sigmas::kSchedule},
                                             {"karras", Sampler::Sigmas::kKarras},
                                             {"exponential", Sampler::Sigmas::kExponential},
                                             {"beta", Sampler::Sigmas::kBeta}})
                     ->group(group);
  app->add_option("--timesteps", sampler->timesteps,
                  "The timesteps themselves, descending, such as 999,500,0 [by the three above]")
      ->delimiter(',')
      ->excludes(steps)
      ->excludes(spacing)
      ->excludes(sigmas)
      ->group(group);
  app->add_option("--flow-shift", sampler->flow_shift,
                  "Shift of a flow model's noise levels [the model's]")
      ->group(group);
  AddChoice<Sampler::Variance>(app, "--variance", &sampler->variance,
                               "DDPM's variance [the model's]",
                               {{"fixed-small", Sampler::Variance::kFixedSmall},
                                {"fixed-large", Sampler::Variance::kFixedLarge},
                                {"learned", Sampler::Variance::kLearned},
                                {"learned-range", Sampler::Variance::kLearnedRange}})
      ->group(group);
  AddSwitch(app, "clip", &sampler->clip_sample, "Clip the predicted x_0 [the model's]", group);
  app->add_option("--clip-range", sampler->clip_sample_range, "Bound of the clipping [the model's]")
      ->group(group);
  AddSwitch(app, "thresholding", &sampler->thresholding,
            "Threshold the predicted x_0 by its quantile [the model's]", group);
  app->add_flag("--use-clipped-model-output", sampler->use_clipped_model_output,
                "DDIM: recompute epsilon from the clipped x_0")
      ->group(group);
}

}  // namespace denoise::cli
