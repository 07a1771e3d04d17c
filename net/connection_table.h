// Which connections a port has, and who must go where there are too many. No sockets and no clock
// of its own.
#ifndef DENOISE_NET_CONNECTION_TABLE_H_
#define DENOISE_NET_CONNECTION_TABLE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

struct sockaddr_storage;

namespace denoise {

struct ConnectionLimits {
  size_t max_connections = 4096;
  size_t max_per_address = 512;
};

// Why a connection was closed by us before it was served.
enum class Refusal {
  kTooMany,           // max_connections are being served
  kTooManyOfAddress,  // max_per_address of its address are being served
  kSilent,            // it did not say in time what it is, or had to make room for another
  kWrongProtocol,     // it said something that is not the port's protocol
  kNoDescriptor,      // the process may open no more files
};
constexpr size_t kRefusals = 5;
// As a metric's label: "too_many", "too_many_of_address", "silent", "wrong_protocol",
// "no_descriptor".
absl::string_view RefusalName(Refusal refusal);

// What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address, since hosts
// have all of those. Those of other families are one.
std::string AddressKey(const sockaddr_storage& address);

// A connection is silent until it has said what it is, and then served. Served connections keep
// others out; silent ones do not: where a limit is reached, the oldest silent one goes. Not
// thread-safe.
class ConnectionTable {
 public:
  using Id = uint64_t;
  using Time = std::chrono::steady_clock::time_point;

  explicit ConnectionTable(const ConnectionLimits& limits) : limits_(limits) {}

  struct Admission {
    std::optional<Id> id;           // of the new connection, silent so far; none: it is refused
    std::optional<Id> evicted;      // a silent one that is forgotten, and must be closed
    std::optional<Refusal> reason;  // where it is refused
  };
  Admission Admit(const std::string& address, Time now);
  // Whether one of that address would be admitted without another's having to go.
  bool HasRoom(const std::string& address) const;
  // It is served from now on.
  void Serve(Id id);
  // It is closed, and forgotten.
  void Remove(Id id);

  // The silent connection that has been so for longest, and since when.
  std::optional<std::pair<Id, Time>> OldestSilent() const;
  size_t size() const { return connections_.size(); }
  size_t served() const { return connections_.size() - silent_.size(); }
  const ConnectionLimits& limits() const { return limits_; }

 private:
  struct Address {
    size_t connections = 0;
    std::set<Id> silent;
  };
  using Addresses = std::map<std::string, Address>;
  struct Connection {
    Addresses::iterator address;
    Time since;
  };

  const ConnectionLimits limits_;
  Id last_id_ = 0;  // ids rise, so that sets of them are in order of age
  Addresses addresses_;
  std::map<Id, Connection> connections_;
  std::set<Id> silent_;
};

}  // namespace denoise

#endif  // DENOISE_NET_CONNECTION_TABLE_H_
