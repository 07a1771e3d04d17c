// What an Evaluate gathers from its chains.
#ifndef DENOISE_SERVER_ENGINE_EVALUATION_H_
#define DENOISE_SERVER_ENGINE_EVALUATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/diffusion/likelihood.h"
#include "server/diffusion/table.h"
#include "server/engine/mutex.h"

namespace denoise {

// A timestep of which every sample's term is there.
struct TermEvent {
  uint32_t timestep = 0;
  std::vector<double> bits_per_dim;  // [n]
  std::vector<double> eps_mse;
  std::vector<double> x_0_mse;
};

struct LikelihoodEvent {
  std::vector<double> total_bits_per_dim;  // [n]
  std::vector<double> prior_bits_per_dim;
  std::vector<double> standard_error;
};

// Thread-safe: the samples of a request may be on several engines.
class Evaluation {
 public:
  // `dimensions`: C·H·W.
  Evaluation(std::shared_ptr<const Table> table, uint32_t num_samples, size_t dimensions);

  void SetPrior(uint32_t sample, double nats);
  // Notes a term. The event, where this was the last sample's of its timestep.
  std::optional<TermEvent> Add(uint32_t sample, size_t term, const TermValues& values);
  // When every term of every sample is there.
  LikelihoodEvent Total() const;

 private:
  const std::shared_ptr<const Table> table_;
  const uint32_t num_samples_;
  const double bits_per_nat_;  // per dimension

  mutable Mutex mutex_;
  std::vector<double> prior_ ABSL_GUARDED_BY(mutex_);       // nats, [n]
  std::vector<TermValues> values_ ABSL_GUARDED_BY(mutex_);  // [terms, n]
  std::vector<uint32_t> missing_ ABSL_GUARDED_BY(mutex_);   // samples, [terms]
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_EVALUATION_H_
