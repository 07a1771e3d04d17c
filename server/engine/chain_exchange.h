// Chains on their way from the fullest engine to one that has run dry.
#ifndef DENOISE_SERVER_ENGINE_CHAIN_EXCHANGE_H_
#define DENOISE_SERVER_ENGINE_CHAIN_EXCHANGE_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/chain.h"
#include "server/engine/executor.h"
#include "server/engine/mutex.h"

namespace denoise {

// The waiting queue balances requests as they come; this balances chains when one engine finishes
// before another. An engine without chains raises a flag; the fullest one sees it at its next tick
// and sends it some of its own. Thread-safe; outlives the engines. A busy engine reads a few
// atomics a tick, and locks only where it sends or is sent something.
class ChainExchange {
 public:
  // A chain and its state. Its slot, key and number of the model are those of the sender, and mean
  // nothing any more.
  struct Parcel {
    Chain chain;
    std::unique_ptr<ChainState> state;
  };

  // For engines 0..engines-1.
  explicit ChainExchange(int engines) : peers_(engines) {}

  // The functions below are for the thread of `engine`, but for Join.

  // From now on it may be sent chains; `wake` is called then, under a lock, from another's thread.
  void Join(int engine, std::function<void()> wake);
  // It has no chains, and asks for some until it has.
  void Ask(int engine);
  void AskNoMore(int engine) { TakeDown(peers_[engine]); }
  // So many of its chains could run at its last tick.
  void Report(int engine, size_t runnable) {
    peers_[engine].runnable.store(runnable, std::memory_order_relaxed);
  }
  // Whether some engine asks for chains.
  bool anyone_asks() const { return asking_.load(std::memory_order_relaxed) > 0; }
  // Sends what `pack` makes to one that asks, if none of the others has more to run. Only what is
  // certain to arrive is packed.
  void Send(int engine, absl::FunctionRef<std::vector<Parcel>()> pack);
  // What has arrived.
  std::vector<Parcel> Take(int engine);
  // It is sent nothing any more, and this is what has arrived last.
  std::vector<Parcel> Leave(int engine);

 private:
  struct Peer {
    std::atomic<size_t> runnable{0};
    std::atomic<bool> asks{false};
    std::atomic<bool> has_arrivals{false};
    Mutex mutex;
    std::function<void()> wake ABSL_GUARDED_BY(mutex);  // null: sent nothing
    std::vector<Parcel> arrivals ABSL_GUARDED_BY(mutex);
  };
  // True where its flag was up.
  bool TakeDown(Peer& peer);

  std::vector<Peer> peers_;
  std::atomic<int> asking_{0};  // flags that are up
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_CHAIN_EXCHANGE_H_
