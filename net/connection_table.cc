#include "net/connection_table.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace denoise {

absl::string_view RefusalName(Refusal refusal) {
  switch (refusal) {
    case Refusal::kTooMany:
      return "too_many";
    case Refusal::kTooManyOfAddress:
      return "too_many_of_address";
    case Refusal::kSilent:
      return "silent";
    case Refusal::kWrongProtocol:
      return "wrong_protocol";
    case Refusal::kNoDescriptor:
      return "no_descriptor";
  }
  return "";
}

std::string AddressKey(const sockaddr_storage& address) {
  const auto bytes = [](const void* data, size_t size) {
    return std::string(static_cast<const char*>(data), size);
  };
  if (address.ss_family == AF_INET) {
    return bytes(&reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  }
  if (address.ss_family != AF_INET6) return "";
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  // An IPv4 address, as a socket of both families shows it.
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return bytes(&v6.s6_addr[12], 4);
  return bytes(&v6, 8);
}

bool ConnectionTable::HasRoom(const std::string& address) const {
  const auto known = addresses_.find(address);
  return connections_.size() < limits_.max_connections &&
         (known == addresses_.end() || known->second.connections < limits_.max_per_address);
}

ConnectionTable::Admission ConnectionTable::Admit(const std::string& address, Time now) {
  Admission admission;
  const auto known = addresses_.find(address);
  const std::set<Id>* candidates = nullptr;
  if (known != addresses_.end() && known->second.connections >= limits_.max_per_address) {
    candidates = &known->second.silent;
    admission.reason = Refusal::kTooManyOfAddress;
  } else if (connections_.size() >= limits_.max_connections) {
    candidates = &silent_;
    admission.reason = Refusal::kTooMany;
  }
  if (candidates != nullptr) {
    if (candidates->empty()) return admission;
    admission.reason.reset();
    admission.evicted = *candidates->begin();
    Remove(*admission.evicted);
  }
  const Id id = ++last_id_;
  const auto of = addresses_.try_emplace(address).first;
  ++of->second.connections;
  of->second.silent.insert(id);
  silent_.insert(id);
  connections_.emplace(id, Connection{of, now});
  admission.id = id;
  return admission;
}

void ConnectionTable::Serve(Id id) {
  silent_.erase(id);
  connections_.at(id).address->second.silent.erase(id);
}

void ConnectionTable::Remove(Id id) {
  Serve(id);
  const auto connection = connections_.find(id);
  const Addresses::iterator address = connection->second.address;
  connections_.erase(connection);
  if (--address->second.connections == 0) addresses_.erase(address);
}

std::optional<std::pair<ConnectionTable::Id, ConnectionTable::Time>> ConnectionTable::OldestSilent()
    const {
  if (silent_.empty()) return std::nullopt;
  return std::pair(*silent_.begin(), connections_.at(*silent_.begin()).since);
}

}  // namespace denoise
