// How code that samples is tested without a server: a Client on a FakeConnection.
#include "draw.h"

#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <utility>

#include "denoise/testing.h"

namespace {

using denoise::testing::ChainOf;
using denoise::testing::FakeConnection;
using denoise::testing::Script;

void Check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "failed: " << what << "\n";
  std::exit(EXIT_FAILURE);
}

void DrawsWhatIsAskedFor() {
  auto server = std::make_shared<FakeConnection>();
  server->on_sample = [](const denoise::SampleRequest& request, const denoise::CallOptions&) {
    Check(request.class_labels == std::vector<int64_t>{7}, "the class is asked for");
    return Script<denoise::Event>{.events = ChainOf(request, {1, 28, 28}, 20)};
  };
  denoise::Client client(server);
  std::ostringstream log;
  const auto pngs = Draw(client, 7, log);
  Check(pngs.ok() && pngs->size() == 2, "two pictures");
  Check(log.str().find("sample 1: step 20 of 20\n") != std::string::npos, "progress is told");
}

void ExplainsErrors() {
  denoise::ErrorDetails details;
  details.reason = "QUEUE_FULL";
  details.retry_delay = absl::Seconds(2);
  const absl::Status full =
      denoise::WithDetails(absl::ResourceExhaustedError("the queue is full"), details);
  auto server = std::make_shared<FakeConnection>();
  server->on_sample = [&](const denoise::SampleRequest& request, const denoise::CallOptions&) {
    auto events = ChainOf(request, {1, 28, 28}, 20);
    events.resize(1);  // it breaks off after Accepted
    return Script<denoise::Event>{.events = std::move(events), .status = full};
  };
  denoise::Client client(server);
  std::ostringstream log;
  const auto pngs = Draw(client, 7, log);
  Check(absl::IsResourceExhausted(pngs.status()), "the error is passed on");
  Check(Explain(pngs.status()).find("come back in 2s") != std::string::npos, "and explained");
}

}  // namespace

int main() {
  DrawsWhatIsAskedFor();
  ExplainsErrors();
  return EXIT_SUCCESS;
}
