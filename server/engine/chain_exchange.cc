#include "server/engine/chain_exchange.h"

#include <iterator>
#include <utility>

namespace denoise {

void ChainExchange::Join(int engine, std::function<void()> wake) {
  Peer& peer = peers_[engine];
  MutexLock lock(peer.mutex);
  peer.wake = std::move(wake);
}

bool ChainExchange::TakeDown(Peer& peer) {
  if (!peer.asks.load(std::memory_order_relaxed) || !peer.asks.exchange(false)) return false;
  asking_.fetch_sub(1);
  return true;
}

void ChainExchange::Ask(int engine) {
  if (!peers_[engine].asks.exchange(true)) asking_.fetch_add(1);
}

void ChainExchange::Send(int engine, absl::FunctionRef<std::vector<Parcel>()> pack) {
  const size_t own = peers_[engine].runnable.load(std::memory_order_relaxed);
  for (const Peer& peer : peers_) {
    if (peer.runnable.load(std::memory_order_relaxed) > own) return;
  }
  for (Peer& peer : peers_) {
    if (&peer == &peers_[engine] || !TakeDown(peer)) continue;
    MutexLock lock(peer.mutex);
    if (!peer.wake) continue;
    std::vector<Parcel> parcels = pack();
    peer.arrivals.insert(peer.arrivals.end(), std::make_move_iterator(parcels.begin()),
                         std::make_move_iterator(parcels.end()));
    peer.has_arrivals.store(true);
    peer.wake();  // also with nothing, so that it asks again
    return;
  }
}

std::vector<ChainExchange::Parcel> ChainExchange::Take(int engine) {
  Peer& peer = peers_[engine];
  std::vector<Parcel> parcels;
  if (!peer.has_arrivals.load(std::memory_order_relaxed)) return parcels;
  MutexLock lock(peer.mutex);
  parcels.swap(peer.arrivals);
  peer.has_arrivals.store(false);
  return parcels;
}

std::vector<ChainExchange::Parcel> ChainExchange::Leave(int engine) {
  Peer& peer = peers_[engine];
  TakeDown(peer);
  peer.runnable.store(0, std::memory_order_relaxed);
  MutexLock lock(peer.mutex);
  peer.wake = nullptr;
  return std::exchange(peer.arrivals, {});
}

}  // namespace denoise
