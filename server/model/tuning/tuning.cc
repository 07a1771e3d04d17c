#include "server/model/tuning/tuning.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace denoise {
namespace {

// Better by less is not worth another choice at every start.
constexpr double kWorthwhile = 1.03;
// Slices of a way in a round, at least; more of them where that makes slices longer than this.
constexpr int kPasses = 3;
constexpr double kLongestSlice = 0.05;
// Of plans between the two extremes.
constexpr size_t kMostBetween = 3;

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

bool SameButForSize(const TuningResult& a, const TuningResult& b) {
  return a.executor == b.executor && a.layout == b.layout && a.precision == b.precision &&
         a.replicas == b.replicas && a.threads == b.threads;
}

// A way while it is being measured.
struct Contender {
  size_t way = 0;
  bool incumbent = false;  // stays to the end
  std::vector<double> rates{};
  std::vector<double> call_seconds{};

  double rate() const { return rates.empty() ? 0 : Median(rates); }
};

class Contest {
 public:
  Contest(double seconds, const Clock& clock, const RunSlice& run,
          const std::vector<TuningResult>& ways)
      : seconds_(seconds), clock_(clock), run_(run), ways_(ways), begin_(clock.Now()) {
    for (size_t i = 0; i < ways.size(); ++i) {
      all_.push_back({.way = i, .incumbent = SameButForSize(ways[i], ways[0])});
    }
    for (Contender& each : all_) running_.push_back(&each);
  }

  void Run() {
    int rounds = 1;
    while ((size_t{1} << rounds) <= all_.size()) ++rounds;
    for (int round = 0; round < rounds && left() > 0 && !running_.empty(); ++round) {
      Round(left() / (rounds - round));
      if (round + 1 < rounds) Halve();
    }
  }

  // Null where nothing was measured.
  const Contender* Winner() const {
    const Contender* best = nullptr;
    const Contender* incumbent = nullptr;
    for (const Contender* each : running_) {
      if (each->rates.empty()) continue;
      if (best == nullptr || each->rate() > best->rate()) best = each;
      if (each->incumbent && (incumbent == nullptr || each->rate() > incumbent->rate())) {
        incumbent = each;
      }
    }
    if (incumbent != nullptr && best->rate() < kWorthwhile * incumbent->rate()) return incumbent;
    return best;
  }

  const std::vector<Contender>& all() const { return all_; }

 private:
  double left() const { return seconds_ - SecondsBetween(begin_, clock_.Now()); }

  void Round(double seconds) {
    const double until = left() - seconds;
    const double slice =
        std::min(kLongestSlice, seconds / static_cast<double>(running_.size() * kPasses));
    do {
      for (Contender*& each : running_) {
        if (left() <= 0) break;
        const absl::StatusOr<Slice> result = run_(ways_[each->way], slice);
        if (!result.ok()) {
          each->rates.clear();
          each = nullptr;
          continue;
        }
        each->rates.push_back(result->rows_per_second);
        each->call_seconds.push_back(result->call_seconds);
      }
      running_.erase(std::remove(running_.begin(), running_.end(), nullptr), running_.end());
    } while (left() > std::max(until, 0.0) && !running_.empty());
  }

  // The better half, and the best of the incumbent's sizes.
  void Halve() {
    std::stable_sort(running_.begin(), running_.end(),
                     [](const auto* a, const auto* b) { return a->rate() > b->rate(); });
    const auto end = running_.begin() + static_cast<std::ptrdiff_t>((running_.size() + 1) / 2);
    const auto kept = [](const Contender* each) { return each->incumbent; };
    const auto other = std::any_of(running_.begin(), end, kept)
                           ? running_.end()
                           : std::find_if(end, running_.end(), kept);
    Contender* const incumbent = other == running_.end() ? nullptr : *other;
    running_.erase(end, running_.end());
    if (incumbent != nullptr) running_.push_back(incumbent);
  }

  const double seconds_;
  const Clock& clock_;
  const RunSlice& run_;
  const std::vector<TuningResult>& ways_;
  const SteadyTime begin_;
  std::vector<Contender> all_;
  std::vector<Contender*> running_;
};

}  // namespace

std::vector<Plan> PlansFor(TuneFor purpose, int cores, int replicas, int threads) {
  if (replicas > 0) return {{replicas, threads > 0 ? threads : std::max(1, cores / replicas)}};
  if (threads > 0) return {{std::max(1, cores / threads), threads}};
  std::vector<Plan> plans = {{cores, 1}};
  for (int each = 2; each < cores && plans.size() <= kMostBetween; each *= 2) {
    if (cores % each == 0) plans.push_back({cores / each, each});
  }
  if (cores > 1) plans.push_back({1, cores});
  if (purpose == TuneFor::kLatency) std::reverse(plans.begin(), plans.end());
  return plans;
}

std::vector<int64_t> TrialSizes(TuneFor purpose, const std::vector<int64_t>& allowed,
                                int64_t saturation) {
  if (purpose == TuneFor::kLatency) return {allowed.front()};
  std::vector<int64_t> sizes;
  for (const int64_t wanted : {saturation, saturation / 2, saturation * 2}) {
    const auto above = std::upper_bound(allowed.begin(), allowed.end(), wanted);
    const int64_t size = above == allowed.begin() ? allowed.front() : *(above - 1);
    if (std::count(sizes.begin(), sizes.end(), size) == 0) sizes.push_back(size);
  }
  return sizes;
}

int Compare(double seconds, const Clock& clock, const RunSlice& run,
            std::vector<TuningResult>* ways) {
  Contest contest(seconds, clock, run, *ways);
  contest.Run();
  const Contender* const winner = contest.Winner();
  int chosen = -1;
  std::vector<TuningResult> measured;
  for (const Contender& each : contest.all()) {
    if (each.rates.empty()) continue;
    TuningResult result = (*ways)[each.way];
    result.rows_per_second = each.rate();
    result.call_seconds = Median(each.call_seconds);
    result.chosen = &each == winner;
    if (result.chosen) chosen = static_cast<int>(measured.size());
    measured.push_back(std::move(result));
  }
  if (chosen < 0) measured.clear();
  *ways = std::move(measured);
  return chosen;
}

}  // namespace denoise
