#include "server/rpc/inference/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

constexpr size_t kMaxNameBytes = 255;

// Of a shared memory object: one path component, as shm_open(3) has it.
bool IsKey(absl::string_view key) {
  absl::ConsumePrefix(&key, "/");
  return !key.empty() && key != "." && key != ".." && key.size() <= kMaxNameBytes &&
         key.find('/') == key.npos && key.find('\0') == key.npos;
}

absl::Status Unknown(absl::string_view name) {
  return WithReason(absl::NotFoundError(absl::StrCat("shared memory region ", Quote(name),
                                                     " is not registered; register it first")),
                    kRegionNotFound);
}

}  // namespace

// An open object.
class SharedMemory::Object {
 public:
  explicit Object(int descriptor) : descriptor_(descriptor) {}
  ~Object() { close(descriptor_); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  // 0 where it cannot be told.
  uint64_t size() const {
    struct stat status;
    if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    return static_cast<uint64_t>(status.st_size);
  }

  // False where there is less, or an error.
  bool Read(uint64_t offset, std::string* bytes) const {
    size_t done = 0;
    while (done < bytes->size()) {
      const ssize_t got = pread(descriptor_, bytes->data() + done, bytes->size() - done,
                                static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      done += got;
    }
    return true;
  }
  bool Write(uint64_t offset, absl::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t put =
          pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return false;
      bytes.remove_prefix(put);
      offset += put;
    }
    return true;
  }

 private:
  const int descriptor_;
};

absl::Status SharedMemory::CheckEnabled() const {
  if (registry_ != nullptr && registry_->enabled()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "shared memory is off here; start denoised with --shared-memory, or send tensors as bytes");
}

absl::Status SharedMemory::CheckKey(absl::string_view key) const {
  if (!IsKey(key)) {
    return FieldError(
        "key", absl::StrCat(Quote(key), " is no name of a shared memory object, such as /name"));
  }
  if (tenant_.empty()) return absl::OkStatus();
  absl::string_view name = key;
  absl::ConsumePrefix(&name, "/");
  if (absl::ConsumePrefix(&name, absl::StrCat(tenant_, ".")) && name.find('.') == name.npos) {
    return absl::OkStatus();
  }
  return FieldDenied("key", absl::StrCat(Quote(key),
                                         " is not this tenant's: its objects are "
                                         "named /",
                                         tenant_, ".NAME, with no dot in NAME"));
}

absl::Status SharedMemory::Register(const std::string& name, const Region& region) {
  if (absl::Status status = CheckEnabled(); !status.ok()) return status;
  if (name.empty() || name.size() > kMaxNameBytes) {
    return FieldError("name", absl::StrCat(Quote(name), " is not 1..", kMaxNameBytes, " bytes"));
  }
  if (absl::Status status = CheckKey(region.key); !status.ok()) return status;
  const std::string key = region.key[0] == '/' ? region.key : absl::StrCat("/", region.key);
  const int descriptor = shm_open(key.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
  if (descriptor < 0) {
    const char* const why = errno == ENOENT ? " is not there; create it on this machine first"
                                            : " may not be opened by the server's user";
    return WithReason(
        absl::NotFoundError(absl::StrCat("key: the shared memory object ", Quote(region.key), why)),
        kRegionNotFound);
  }
  auto object = std::make_shared<const Object>(descriptor);
  const uint64_t size = object->size();
  if (region.offset > size) {
    return FieldError("offset", absl::StrCat(region.offset, " is past the ", size, " bytes of ",
                                             Quote(region.key)));
  }
  if (region.byte_size == 0 || region.byte_size > size - region.offset) {
    return FieldError("byte_size",
                      absl::StrCat(region.byte_size, " is not in 1..", size - region.offset,
                                   ", what ", Quote(region.key), " has from the offset on"));
  }
  MutexLock lock(registry_->mutex_);
  auto& entries = registry_->entries_;
  if (entries.count({tenant_, name}) > 0) {
    return absl::AlreadyExistsError(absl::StrCat("shared memory region ", Quote(name),
                                                 " is registered already; unregister it first"));
  }
  const auto [begin, end] = registry_->OfTenant(tenant_);
  const auto own = static_cast<size_t>(std::distance(begin, end));
  const size_t most = registry_->max_regions_;
  if (entries.size() >= most || (!tenant_.empty() && own >= (most + 1) / 2)) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "shared memory regions: ", own, " of this tenant and ", entries.size(),
                          " in all are registered, of ", most, "; unregister some")),
                      kQuotaExceeded);
  }
  entries[{tenant_, name}] = {region, std::move(object)};
  return absl::OkStatus();
}

absl::Status SharedMemory::Unregister(const std::string& name) {
  if (absl::Status status = CheckEnabled(); !status.ok()) return status;
  MutexLock lock(registry_->mutex_);
  if (name.empty()) {
    const auto [begin, end] = registry_->OfTenant(tenant_);
    registry_->entries_.erase(begin, end);
  } else {
    registry_->entries_.erase({tenant_, name});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, SharedMemory::Region>> SharedMemory::Regions(
    const std::string& name) const {
  if (absl::Status status = CheckEnabled(); !status.ok()) return status;
  std::map<std::string, Region> regions;
  MutexLock lock(registry_->mutex_);
  for (auto [it, end] = registry_->OfTenant(tenant_); it != end; ++it) {
    const std::string& known = it->first.second;
    if (name.empty() || name == known) regions[known] = it->second.region;
  }
  if (!name.empty() && regions.empty()) return Unknown(name);
  return regions;
}

absl::StatusOr<SharedMemory::Found> SharedMemory::Find(const Place& place,
                                                       absl::string_view field) const {
  if (absl::Status status = CheckEnabled(); !status.ok()) return status;
  MutexLock lock(registry_->mutex_);
  const auto it = registry_->entries_.find({tenant_, place.region});
  if (it == registry_->entries_.end()) {
    return WithReason(
        absl::NotFoundError(absl::StrCat(field, ": ", Unknown(place.region).message())),
        kRegionNotFound);
  }
  const Region& region = it->second.region;
  if (place.offset > region.byte_size || place.byte_size > region.byte_size - place.offset) {
    return FieldError(
        field, absl::StrCat(place.byte_size, " bytes at ", place.offset, " are not within the ",
                            region.byte_size, " of region ", Quote(place.region)));
  }
  return Found(it->second.object, region.offset + place.offset);
}

std::pair<SharedMemoryRegistry::Entries::const_iterator,
          SharedMemoryRegistry::Entries::const_iterator>
SharedMemoryRegistry::OfTenant(const std::string& tenant) const {
  // No name is empty, and none sorts between "TENANT" and the next text that there is.
  return {entries_.lower_bound({tenant, ""}), entries_.lower_bound({tenant + '\0', ""})};
}

size_t SharedMemoryRegistry::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

absl::Status SharedMemory::Check(const Place& place, absl::string_view field) const {
  return Find(place, field).status();
}

absl::StatusOr<std::string> SharedMemory::Read(const Place& place, absl::string_view field) const {
  const absl::StatusOr<Found> found = Find(place, field);
  if (!found.ok()) return found.status();
  std::string bytes(place.byte_size, '\0');
  if (found->first->Read(found->second, &bytes)) return bytes;
  return FieldError(field, absl::StrCat("region ", Quote(place.region),
                                        " has become smaller than it was registered; register it "
                                        "again"));
}

absl::Status SharedMemory::Write(const Place& place, absl::string_view bytes,
                                 absl::string_view field) const {
  const absl::StatusOr<Found> found = Find(place, field);
  if (!found.ok()) return found.status();
  if (bytes.size() > place.byte_size) {
    return FieldError(field, absl::StrCat("the output has ", bytes.size(), " bytes, more than the ",
                                          place.byte_size, " of its shared memory"));
  }
  const auto& [object, offset] = *found;
  // Else it would grow by what is written.
  if (offset + bytes.size() <= object->size() && object->Write(offset, bytes)) {
    return absl::OkStatus();
  }
  return FieldError(field, absl::StrCat("region ", Quote(place.region),
                                        " has become smaller than it was registered; register it "
                                        "again"));
}

}  // namespace denoise
