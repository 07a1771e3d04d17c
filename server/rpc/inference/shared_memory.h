// Regions of POSIX shared memory that callers on this machine have registered.
#ifndef DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_
#define DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_

#include <cstddef>
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

class SharedMemoryRegistry;

// What a tenant may do with shared memory: with its own regions alone, of objects of its own. Where
// there are tenants, an object belongs to the one whose name begins the object's, "/TENANT.NAME"
// with no dot in NAME, so that no tenant gets at another's through the server, registered or not.
//
// Nothing is mapped: bytes are read and written through the object's descriptor, so that a caller
// who shrinks it afterwards gets an error and not a server that dies of SIGBUS.
//
// A small value; the registry outlives it. Thread-safe.
class SharedMemory {
 public:
  // Of nobody: every function answers as if it were off.
  SharedMemory() = default;
  SharedMemory(SharedMemoryRegistry* registry, std::string tenant)
      : registry_(registry), tenant_(std::move(tenant)) {}

  struct Region {
    std::string key;
    uint64_t offset = 0;
    uint64_t byte_size = 0;
  };
  // Where shared memory is off, all of these answer FAILED_PRECONDITION with the fix.
  //
  // FieldErrors "name", "key", "offset", "byte_size"; PERMISSION_DENIED for an object that is not
  // the tenant's; NOT_FOUND where there is no such object, or it may not be opened; ALREADY_EXISTS
  // for a name that is taken; RESOURCE_EXHAUSTED (QUOTA_EXCEEDED) where there are enough.
  absl::Status Register(const std::string& name, const Region& region);
  // All of the tenant's where `name` is empty. One that is not there is no error, as with Triton.
  absl::Status Unregister(const std::string& name);
  // By name; all where `name` is empty, else NOT_FOUND (REGION_NOT_FOUND) where it is not there.
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
  friend class SharedMemoryRegistry;
  class Object;
  using Found = std::pair<std::shared_ptr<const Object>, uint64_t>;  // and where in it

  absl::Status CheckEnabled() const;
  absl::Status CheckKey(absl::string_view key) const;
  absl::StatusOr<Found> Find(const Place& place, absl::string_view field) const;

  SharedMemoryRegistry* registry_ = nullptr;
  std::string tenant_;  // empty: of no one in particular
};

// The regions of all tenants.
class SharedMemoryRegistry {
 public:
  // At most so many regions, of which a tenant may have half; each is an open file. 0: shared
  // memory is off.
  explicit SharedMemoryRegistry(size_t max_regions) : max_regions_(max_regions) {}

  bool enabled() const { return max_regions_ > 0; }
  SharedMemory Of(const std::string& tenant) { return SharedMemory(this, tenant); }
  // That are registered.
  size_t size() const;

 private:
  friend class SharedMemory;
  using Key = std::pair<std::string, std::string>;  // tenant and name
  struct Entry {
    SharedMemory::Region region;
    std::shared_ptr<const SharedMemory::Object> object;  // closed when its last reader lets it go
  };
  using Entries = std::map<Key, Entry>;
  std::pair<Entries::const_iterator, Entries::const_iterator> OfTenant(
      const std::string& tenant) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_regions_;
  mutable Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_SHARED_MEMORY_H_
