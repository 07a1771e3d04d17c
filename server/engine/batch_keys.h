// Numbers for what must agree between rows of one batch.
#ifndef DENOISE_SERVER_ENGINE_BATCH_KEYS_H_
#define DENOISE_SERVER_ENGINE_BATCH_KEYS_H_

#include <cstddef>
#include <vector>

#include "server/engine/conditions.h"

namespace denoise {

// Small numbers, one for each model and shapes of conditions that chains have now. A number that
// nobody holds is given away again, so there are never more than there were chains at once.
class BatchKeys {
 public:
  // The number for chains of `model` (the caller's own number, not negative) with `conditions`
  // (null: the model has none), held once more.
  int Hold(int model, const Conditions* conditions);
  void Release(int key) { --keys_[key].holders; }

 private:
  struct Key {
    int model = -1;
    Conditions shapes;  // without data
    size_t holders = 0;
  };
  std::vector<Key> keys_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_BATCH_KEYS_H_
