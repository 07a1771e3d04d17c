#include "server/model/chain/sample_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "server/model/chain/row_kernels.h"

namespace denoise {
namespace {

using row_kernels::kBlock;

// A sum of doubles in an order that suits every width of vectors: value i goes to lane i % kLanes,
// the lanes are added at the end.
class LaneSum {
 public:
  // Adds (value - centre)^power; blocks but the last are whole multiples of kLanes.
  template <int kPower>
  DENOISE_INLINE void Add(const float* values, int64_t n, double centre) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) AddLanes<kPower>(values + i, kLanes, centre);
    AddLanes<kPower>(values + i, n - i, centre);
  }
  DENOISE_INLINE double Total() const {
    double total = 0;
    for (const double lane : lanes_) total += lane;
    return total;
  }

 private:
  static constexpr int64_t kLanes = 16;
  static_assert(kBlock % kLanes == 0);

  template <int kPower>
  DENOISE_INLINE void AddLanes(const float* values, int64_t n, double centre) {
    for (int64_t lane = 0; lane < n; ++lane) {
      const double value = values[lane] - centre;
      lanes_[lane] += kPower == 1 ? value : value * value;
    }
  }

  double lanes_[kLanes] = {};
};

struct Sums {
  double out;
  double guided;
};

// Of (value - centre)^power, over the conditional and the guided answer.
template <int kPower>
DENOISE_INLINE Sums SumPowers(const float* out, const float* out_null, float guidance, int64_t n,
                              Sums centre) {
  alignas(64) float guided[kBlock];
  LaneSum of_out, of_guided;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    row_kernels::Guide(out + begin, out_null + begin, guidance, count, guided);
    of_out.Add<kPower>(out + begin, count, centre.out);
    of_guided.Add<kPower>(guided, count, centre.guided);
  }
  return {of_out.Total(), of_guided.Total()};
}

// Sums of squares about the mean. The mean first: what is left of a difference of large squares
// would be rounding.
DENOISE_VECTOR_CLONES Sums SumSquares(const float* out, const float* out_null, float guidance,
                                      int64_t n) {
  const Sums sums = SumPowers<1>(out, out_null, guidance, n, {0, 0});
  const auto count = static_cast<double>(n);
  return SumPowers<2>(out, out_null, guidance, n, {sums.out / count, sums.guided / count});
}

}  // namespace

float Quantile(float ratio, int64_t n, float* values) {
  bool nan = false;
  for (int64_t i = 0; i < n; ++i) nan |= std::isnan(values[i]);
  if (nan) return std::numeric_limits<float>::quiet_NaN();

  // float32 can round a rank up past the end.
  const float rank = std::min(ratio * static_cast<float>(n - 1), static_cast<float>(n - 1));
  const int64_t below = std::min(static_cast<int64_t>(rank), n - 1);
  std::nth_element(values, values + below, values + n);
  const float weight = rank - static_cast<float>(below);
  if (weight <= 0 || below + 1 == n) return values[below];
  const float low = values[below];
  const float high = *std::min_element(values + below + 1, values + n);
  // From the nearer end, as torch.lerp.
  return weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1 - weight);
}

float GuidanceRescaling(const float* out, const float* out_null, float guidance, float rescale,
                        int64_t n) {
  const Sums squares = SumSquares(out, out_null, guidance, n);
  if (!(squares.guided > 0)) return 1;
  // The n - 1 of both variances cancel.
  const double ratio = std::sqrt(squares.out / squares.guided);
  return static_cast<float>(rescale * ratio + (1 - static_cast<double>(rescale)));
}

}  // namespace denoise
