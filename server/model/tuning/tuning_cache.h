// What tuning chose, kept in a file, so that the next start need not measure again.
#ifndef DENOISE_SERVER_MODEL_TUNING_TUNING_CACHE_H_
#define DENOISE_SERVER_MODEL_TUNING_TUNING_CACHE_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/examination/batch_time.h"

namespace denoise {

// All that a choice depends on, by name: the model's sha256, the machine, the flags. A choice is
// used only where all of it is the same.
using TuningKey = std::map<std::string, std::string>;

struct TunedChoice {
  std::vector<TuningResult> ways;  // one of them chosen
  std::vector<BatchTime> times;    // of the batch sizes that are run, ascending

  const TuningResult& chosen() const;
};

// A JSON file, {"denoised_tuning": 1, "choices": [{"key": {…}, "ways": [{…}], "batches": [{…}]}]},
// for several models and machines. Not thread-safe; other processes may use the same file, and
// never see half of it.
class TuningCache {
 public:
  explicit TuningCache(std::string path) : path_(std::move(path)) {}

  // What was chosen for this key; nothing where the file is not there or knows of others only.
  // INVALID_ARGUMENT, one line naming the file and the fix, where it is no such file, or damaged.
  absl::StatusOr<std::optional<TunedChoice>> Find(const TuningKey& key) const;

  // Adds the choice, or replaces the one for this key; past 64 the oldest goes. INVALID_ARGUMENT
  // where the file is something else or damaged, which is left as it is; UNAVAILABLE where it
  // cannot be written. One line naming the file and the fix.
  absl::Status Put(const TuningKey& key, const TunedChoice& choice) const;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_TUNING_TUNING_CACHE_H_
