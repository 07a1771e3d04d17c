// Regions of POSIX shared memory that callers on this machine have registered.
#ifndef DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_
#define DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/mutex.h"

namespace denoise {

// Nothing is mapped: bytes are read and written through the object's descriptor, so that a caller
// who shrinks it afterwards gets an error and not a server that dies of SIGBUS. Thread-safe.
class SharedMemory {
 public:
  // Where it is not enabled, every function answers FAILED_PRECONDITION with the fix.
  explicit SharedMemory(bool enabled) : enabled_(enabled) {}

  bool enabled() const { return enabled_; }

  struct Region {
    std::string key;
    uint64_t offset = 0;
    uint64_t byte_size = 0;
  };
  // FieldErrors "name", "key", "offset", "byte_size"; NOT_FOUND where there is no such object, or
  // it may not be opened; ALREADY_EXISTS for a name that is taken, RESOURCE_EXHAUSTED past a
  // thousand.
  absl::Status Register(const std::string& name, const Region& region);
  // All where `name` is empty. One that is not there is no error, as with Triton.
  absl::Status Unregister(const std::string& name);
  // By name; all where `name` is empty, else NOT_FOUND where it is not there.
  absl::StatusOr<std::map<std::string, Region>> Regions(const std::string& name) const;

  // A part of a region, as a tensor's parameters name it.
  struct Place {
    std::string region;
    uint64_t offset = 0;  // in the region
    uint64_t byte_size = 0;
  };
  // Whether the place is within its region as it was registered. NOT_FOUND, INVALID_ARGUMENT; the
  // messages begin with `field`.
  absl::Status Check(const Place& place, absl::string_view field) const;
  // byte_size bytes of a place; for all of which there must be memory. As Check, and
  // INVALID_ARGUMENT where the object has become smaller.
  absl::StatusOr<std::string> Read(const Place& place, absl::string_view field) const;
  // Writes `bytes` where the place begins; at most byte_size, else INVALID_ARGUMENT.
  absl::Status Write(const Place& place, absl::string_view bytes, absl::string_view field) const;

 private:
  class Object;
  using Found = std::pair<std::shared_ptr<const Object>, uint64_t>;  // and where in it

  absl::Status CheckEnabled() const;
  absl::StatusOr<Found> Find(const Place& place, absl::string_view field) const;

  struct Entry {
    Region region;
    std::shared_ptr<const Object> object;  // closed when the last reader lets go of it
  };
  const bool enabled_;
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_
