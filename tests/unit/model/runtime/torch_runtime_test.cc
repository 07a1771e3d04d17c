#include "server/model/runtime/torch_runtime.h"

#include <thread>

#include "ATen/Parallel.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

TEST(TorchRuntimeTest, AThreadKeepsItsNumberWhateverAnotherSets) {
  int used = 0;
  std::thread engine([&] {
    PrepareEngineThread(2);
    // As the thread does that draws noise beside the call.
    std::thread([] { PrepareEngineThread(1); }).join();
    at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {});
    used = at::get_num_threads();
  });
  engine.join();
  EXPECT_EQ(used, 2);
}

}  // namespace
}  // namespace denoise
