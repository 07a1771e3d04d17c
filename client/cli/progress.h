// How far a request's chains are.
#ifndef DENOISE_CLIENT_CLI_PROGRESS_H_
#define DENOISE_CLIENT_CLI_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/console.h"

namespace denoise::cli {

// What Progress measures by, outside of tests.
absl::Duration SteadyNow();

// A bar on a terminal, a line every tenth of the way elsewhere, nothing with --quiet.
class Progress {
 public:
  // `now`: time that only goes forward. `unit`: what is counted.
  Progress(Console* console, std::function<absl::Duration()> now, std::string unit = "step");
  ~Progress();

  // The request is queued.
  void Accepted(uint32_t num_samples, uint32_t total_steps, uint32_t queue_position,
                absl::Duration estimated_wait);
  // Sample `index` has made `step` transitions, or what else is counted.
  void Update(uint32_t index, uint32_t step);
  // Leaves the terminal's line clean. Nothing may follow.
  void Clear();

 private:
  void Draw();

  Console* const console_;
  const std::function<absl::Duration()> now_;
  const std::string unit_;
  std::vector<uint32_t> steps_;  // [num_samples]
  uint64_t done_ = 0;            // transitions of all samples
  uint64_t total_ = 0;
  uint32_t total_steps_ = 0;
  absl::Duration begin_;  // when the first transition was seen, and how many there were then
  uint64_t done_at_begin_ = 0;
  absl::Duration last_draw_ = -absl::InfiniteDuration();
  uint64_t last_tenth_ = 0;
  bool drawn_ = false;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_PROGRESS_H_
