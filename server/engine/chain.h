// One sample on its way, and what it asks of the executor.
#ifndef DENOISE_SERVER_ENGINE_CHAIN_H_
#define DENOISE_SERVER_ENGINE_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "server/engine/active_chains.h"
#include "server/engine/executor.h"
#include "server/engine/policy.h"
#include "server/engine/request.h"

namespace denoise {

// Owned by one engine. What the executor's slot holds and `row` are all the state there is; the
// rest is known from the request.
struct Chain {
  std::shared_ptr<const Request> request;
  uint32_t index = 0;  // of the sample in its request
  int model = 0;       // the engine's number for the request's model
  int key = 0;         // its batch key
  SlotId slot = 0;
  size_t row = 0;  // of the table, the next to run
  // Counted once, because counting them walks the table.
  uint64_t denoiser_rows = 0;       // in all
  uint64_t denoiser_rows_left = 0;  // from `row` on
  size_t bytes = 0;                 // of memory, about
  Standing standing;
  ActiveChains active;  // this one, for its tenant
  bool failed = false;  // its request has ended by it

  const Row& next_row() const { return request->table->rows[row]; }
  bool at_end() const { return row == request->end_row(index); }
};

// How sample `index` of a request starts. Views of the request's data.
ChainStart StartOf(const Request& request, uint32_t index);

// The chain's next row, as a task that writes nothing out yet. Views of the request's data.
RowTask NextTask(const Chain& chain);

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_CHAIN_H_
