#include "server/engine/batch_keys.h"

#include <algorithm>

namespace denoise {

int BatchKeys::Hold(int model, const Conditions* conditions) {
  const Conditions none;
  const Conditions& wanted = conditions == nullptr ? none : *conditions;
  const auto held = std::find_if(keys_.begin(), keys_.end(), [&](const Key& key) {
    return key.holders > 0 && key.model == model && SameShapes(key.shapes, wanted);
  });
  if (held != keys_.end()) {
    ++held->holders;
    return static_cast<int>(held - keys_.begin());
  }
  auto free =
      std::find_if(keys_.begin(), keys_.end(), [](const Key& key) { return key.holders == 0; });
  if (free == keys_.end()) free = keys_.emplace(free);
  free->model = model;
  free->holders = 1;
  free->shapes.clear();
  for (const Condition& condition : wanted) {
    Condition& shape = free->shapes.emplace_back();
    shape.type = condition.type;
    shape.shape = condition.shape;
  }
  return static_cast<int>(free - keys_.begin());
}

}  // namespace denoise
