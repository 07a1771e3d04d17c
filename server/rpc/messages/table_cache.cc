#include "server/rpc/messages/table_cache.h"

namespace denoise {

absl::StatusOr<std::shared_ptr<const Table>> TableCache::Get(const ModelInfo& model,
                                                             const SamplerOptions& options) {
  const Key key(model.id, options);
  {
    MutexLock lock(mutex_);
    if (const auto it = index_.find(key); it != index_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      return it->second->table;
    }
  }
  absl::StatusOr<Table> made =
      MakeTable(model.config, model.schedule, model.learned_variance, options);
  if (!made.ok()) return made.status();
  auto table = std::make_shared<const Table>(*std::move(made));
  if (table->rows.size() > max_rows_) return table;

  MutexLock lock(mutex_);
  // Another thread may have made it meanwhile; theirs is as good.
  if (const auto it = index_.find(key); it != index_.end()) return it->second->table;
  entries_.push_front({key, table});
  index_.emplace(key, entries_.begin());
  rows_ += table->rows.size();
  while (rows_ > max_rows_) {
    const Entry& oldest = entries_.back();
    rows_ -= oldest.table->rows.size();
    index_.erase(oldest.key);
    entries_.pop_back();
  }
  return table;
}

size_t TableCache::rows() const {
  MutexLock lock(mutex_);
  return rows_;
}

}  // namespace denoise
