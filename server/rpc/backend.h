// What calls need of the rest of the server.
#ifndef DENOISE_SERVER_RPC_BACKEND_H_
#define DENOISE_SERVER_RPC_BACKEND_H_

#include <cstdint>
#include <functional>

#include "server/engine/clock.h"
#include "server/engine/memory_budget.h"
#include "server/engine/waiting_queue.h"
#include "server/metrics/metrics.h"
#include "server/rpc/catalog.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/reception.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// All of it is thread-safe and outlives the gRPC server.
struct Backend {
  const Catalog* catalog = nullptr;
  Reception* reception = nullptr;
  MemoryBudget* memory = nullptr;
  WaitingQueue* queue = nullptr;
  WriterPool* writers = nullptr;
  Metrics* metrics = nullptr;
  const Clock* clock = nullptr;
  Limits limits;
  // Wakes every engine: a request has ended, or its reader has room again. Must not block.
  std::function<void()> wake_engines;
  // Denoiser rows that chains active now still need and that a new chain would wait for, of all
  // engines: 0 while batches have room.
  std::function<uint64_t()> rows_ahead;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_BACKEND_H_
