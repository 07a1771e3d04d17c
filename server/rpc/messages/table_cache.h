// Tables that were asked for lately.
#ifndef DENOISE_SERVER_RPC_MESSAGES_TABLE_CACHE_H_
#define DENOISE_SERVER_RPC_MESSAGES_TABLE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/table.h"
#include "server/engine/model_info.h"
#include "server/engine/mutex.h"

namespace denoise {

// Least recently used go first. Thread-safe; a table is made under no lock, at worst twice.
class TableCache {
 public:
  // Keeps at most `max_rows` rows in all, 592 bytes each; a table with more is made for every
  // request.
  explicit TableCache(size_t max_rows = 1 << 16) : max_rows_(max_rows) {}

  // The table of this model for `options`, which name steps or timesteps. Errors as MakeTable's.
  absl::StatusOr<std::shared_ptr<const Table>> Get(const ModelInfo& model,
                                                   const SamplerOptions& options);

  size_t rows() const;

 private:
  // By the model's id: one that was reloaded under its old name has other tables. Entries of
  // models that are gone grow old.
  using Key = std::pair<uint64_t, SamplerOptions>;
  struct Entry {
    Key key;
    std::shared_ptr<const Table> table;
  };

  const size_t max_rows_;
  mutable Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // most recently used first
  absl::flat_hash_map<Key, std::list<Entry>::iterator> index_ ABSL_GUARDED_BY(mutex_);
  size_t rows_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_TABLE_CACHE_H_
