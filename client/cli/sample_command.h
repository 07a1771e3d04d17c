// denoise sample
#ifndef DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_
#define DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"
#include "client/cli/flags/named_file.h"
#include "client/cli/interrupt.h"

namespace denoise::cli {

struct SampleFlags {
  CommonFlags common;
  ModelFlags model;
  std::vector<int64_t> classes;
  std::optional<uint32_t> num_samples;  // absent: one, or one a class or image
  Sampler sampler;
  std::optional<uint64_t> seed;
  std::string initial_noise;  // .npy
  std::vector<NamedFile> conditions;
  int32_t priority = 0;

  std::optional<float> guidance;
  float guidance_rescale = 0;
  std::optional<GuidanceInterval> guidance_interval;
  std::vector<int64_t> negative_classes;
  std::vector<NamedFile> negative_conditions;

  // .png or .npy
  std::vector<std::string> images;
  float strength = ImageToImage().strength;
  std::vector<std::string> inpaint;
  std::string mask;
  uint32_t jump_length = 0;
  uint32_t jump_samples = 0;

  uint32_t every = 0;
  std::vector<Content> content;

  std::string out;      // .png or .npy
  std::string animate;  // .gif or .png
  std::string states;   // .npy
  bool decode = false;  // numbers too; what is drawn always is, where the model has a decoder
  int scale = 0;
  bool no_preview = false;

  bool wants_states() const { return !animate.empty() || !states.empty(); }
};

void AddSampleFlags(CLI::App* app, SampleFlags* flags);

// What the files hold that those flags name: a request of that alone. The errors of input_files.h.
absl::StatusOr<SampleRequest> ReadSampleInputs(const SampleFlags& flags, const Model& model);

// What is asked of the server for those flags. `inputs`: of ReadSampleInputs.
SampleRequest MakeSampleRequest(const SampleFlags& flags, const Model& model, SampleRequest inputs);

// Samples, shows and writes. Returns the exit code.
int RunSample(const SampleFlags& flags, Client& client, Console& console, Interrupt& interrupt);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_
