#include "server/engine/evaluation.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace denoise {

Evaluation::Evaluation(std::shared_ptr<const Table> table, uint32_t num_samples, size_t dimensions)
    : table_(std::move(table)),
      num_samples_(num_samples),
      bits_per_nat_(1 / (std::numbers::ln2 * static_cast<double>(dimensions))),
      prior_(num_samples),
      values_(table_->terms.size() * num_samples),
      missing_(table_->terms.size(), num_samples) {}

void Evaluation::SetPrior(uint32_t sample, double nats) {
  const MutexLock lock(mutex_);
  prior_[sample] = nats;
}

std::optional<TermEvent> Evaluation::Add(uint32_t sample, size_t term, const TermValues& values) {
  const MutexLock lock(mutex_);
  TermValues* const of_term = values_.data() + term * num_samples_;
  of_term[sample] = values;
  if (--missing_[term] > 0) return std::nullopt;

  TermEvent event;
  event.timestep = static_cast<uint32_t>(std::lround(table_->rows[term].timestep));
  event.bits_per_dim.reserve(num_samples_);
  event.eps_mse.reserve(num_samples_);
  event.x_0_mse.reserve(num_samples_);
  for (uint32_t i = 0; i < num_samples_; ++i) {
    event.bits_per_dim.push_back(of_term[i].nats * bits_per_nat_);
    event.eps_mse.push_back(of_term[i].eps_mse);
    event.x_0_mse.push_back(of_term[i].x_0_mse);
  }
  return event;
}

LikelihoodEvent Evaluation::Total() const {
  const MutexLock lock(mutex_);
  const size_t terms = table_->terms.size();
  LikelihoodEvent event;
  event.total_bits_per_dim.reserve(num_samples_);
  event.prior_bits_per_dim.reserve(num_samples_);
  event.standard_error.reserve(num_samples_);
  std::vector<double> nats(terms);
  for (uint32_t i = 0; i < num_samples_; ++i) {
    for (size_t term = 0; term < terms; ++term) nats[term] = values_[term * num_samples_ + i].nats;
    const Bound bound = BoundOf(*table_, prior_[i], nats);
    event.total_bits_per_dim.push_back(bound.nats * bits_per_nat_);
    event.prior_bits_per_dim.push_back(prior_[i] * bits_per_nat_);
    event.standard_error.push_back(bound.standard_error * bits_per_nat_);
  }
  return event;
}

}  // namespace denoise
