// Samples a class from a Denoised server, shows how far it is, and writes the samples as PNG files.
//
//     sample HOST:PORT CLASS FILE-PREFIX
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <variant>

#include "denoise/client.h"

namespace {

// Says what went wrong, with what the server says of it beyond the message.
int Fail(const absl::Status& status) {
  const denoise::ErrorDetails details = denoise::DetailsOf(status);
  std::fprintf(stderr, "sample: %s\n", status.ToString().c_str());
  for (const auto& violation : details.field_violations) {
    std::fprintf(stderr, "  %s: %s\n", violation.field.c_str(), violation.description.c_str());
  }
  if (details.retry_delay) {
    std::fprintf(stderr, "  come back in %s\n", absl::FormatDuration(*details.retry_delay).c_str());
  }
  return EXIT_FAILURE;
}

int Run(const std::string& address, int64_t label, const std::string& prefix) {
  denoise::ClientOptions options;
  options.default_timeout = absl::Minutes(1);
  auto client = denoise::Client::Connect(address, options);
  if (!client.ok()) return Fail(client.status());

  denoise::SampleRequest request;
  request.num_samples = 2;
  request.class_labels = {label};
  request.seed = 1;
  request.sampler.kind = denoise::Sampler::Kind::kDdim;
  request.sampler.steps = 20;
  request.states.every_n_steps = 5;  // without content: progress alone
  request.encoding = denoise::Encoding::kPng;

  for (auto& event : client->Sample(request)) {
    if (!event.ok()) return Fail(event.status());
    if (const auto* accepted = std::get_if<denoise::Accepted>(&*event)) {
      std::printf("seed %llu, %u requests before this one\n",
                  static_cast<unsigned long long>(accepted->seed), accepted->queue_position);
    } else if (const auto* state = std::get_if<denoise::State>(&*event)) {
      std::printf("sample %u: step %u of %u\n", state->sample_index, state->step,
                  state->total_steps);
    } else if (const auto* result = std::get_if<denoise::Result>(&*event)) {
      for (size_t i = 0; i < result->pngs.size(); ++i) {
        const std::string name = prefix + std::to_string(i) + ".png";
        std::ofstream(name, std::ios::binary) << result->pngs[i];
        std::printf("wrote %s\n", name.c_str());
      }
    }
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: sample HOST:PORT CLASS FILE-PREFIX\n");
    return EXIT_FAILURE;
  }
  return Run(argv[1], std::atoll(argv[2]), argv[3]);
}
