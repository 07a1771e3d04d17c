// One sample on its way.
#ifndef DENOISE_SERVER_ENGINE_CHAIN_H_
#define DENOISE_SERVER_ENGINE_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "server/engine/executor.h"
#include "server/engine/request.h"

namespace denoise {

// Owned by one engine. What the executor's slot holds and `row` are all the state there is.
struct Chain {
  std::shared_ptr<const Request> request;
  uint32_t index = 0;  // of the sample in its request
  int model = 0;       // the engine's number for the request's model
  SlotId slot = 0;
  size_t row = 0;  // of the table, the next to run

  const Row& next_row() const { return request->table->rows[row]; }
  bool at_end() const { return row == request->table->rows.size(); }
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_CHAIN_H_
