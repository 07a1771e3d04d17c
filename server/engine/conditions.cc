#include "server/engine/conditions.h"

#include <algorithm>

namespace denoise {

bool SameShapes(const Conditions& a, const Conditions& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Condition& x, const Condition& y) { return x.shape == y.shape; });
}

}  // namespace denoise
