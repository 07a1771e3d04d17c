// Draws samples of a class and writes them as PNG files.
//
//     sample HOST:PORT CLASS FILE-PREFIX
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "draw.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: sample HOST:PORT CLASS FILE-PREFIX\n";
    return EXIT_FAILURE;
  }
  denoise::ClientOptions options;
  options.default_timeout = absl::Minutes(1);
  options.retry.max_attempts = 3;  // a server that restarts is no reason to fail

  auto client = denoise::Client::Connect(argv[1], options);
  if (!client.ok()) {
    std::cerr << "sample: " << Explain(client.status()) << "\n";
    return EXIT_FAILURE;
  }
  const auto pngs = Draw(*client, std::atoll(argv[2]), std::cout);
  if (!pngs.ok()) {
    std::cerr << "sample: " << Explain(pngs.status()) << "\n";
    return EXIT_FAILURE;
  }
  for (size_t i = 0; i < pngs->size(); ++i) {
    const std::string name = argv[3] + std::to_string(i) + ".png";
    std::ofstream(name, std::ios::binary) << (*pngs)[i];
    std::cout << "wrote " << name << "\n";
  }
  return EXIT_SUCCESS;
}
