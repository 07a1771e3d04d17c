// denoise sample
#ifndef DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_
#define DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/common_flags.h"
#include "client/cli/console.h"
#include "client/cli/interrupt.h"

namespace denoise::cli {

struct SampleFlags {
  CommonFlags common;
  ModelFlags model;
  std::vector<int64_t> classes;
  std::optional<uint32_t> num_samples;  // absent: one, or one a class
  Sampler sampler;
  bool clip = false;
  bool no_clip = false;
  std::optional<float> guidance;
  std::optional<uint64_t> seed;
  std::string initial_noise;  // .npy

  uint32_t every = 0;
  std::vector<Content> content;

  std::string out;      // .png or .npy
  std::string animate;  // .gif or .png
  std::string states;   // .npy
  int scale = 0;
  bool no_preview = false;

  bool wants_states() const { return !animate.empty() || !states.empty(); }
};

void AddSampleFlags(CLI::App* app, SampleFlags* flags);

// What is asked of the server for those flags. `noise`: empty for none.
SampleRequest MakeSampleRequest(const SampleFlags& flags, const Model& model, Tensor noise);

// Samples, shows and writes. Gives the exit code.
int RunSample(const SampleFlags& flags, Client& client, Console& console, Interrupt& interrupt);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_SAMPLE_COMMAND_H_
