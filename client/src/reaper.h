// Destruction on a thread of our own.
//
// gRPC's callback threads end with the last channel that uses them, and are joined by its
// destructor. So a channel must not be destroyed on one of them, which is where a call ends that
// has outlived its Client. (gRPC 1.51 then goes on to use what it has freed.)
#ifndef DENOISE_CLIENT_SRC_REAPER_H_
#define DENOISE_CLIENT_SRC_REAPER_H_

#include <functional>
#include <memory>
#include <utility>

namespace denoise {
inline namespace client_v1 {

// Lives as long as one of gRPC's threads runs our code.
class Reaction {
 public:
  Reaction() { ++depth_; }
  ~Reaction() { --depth_; }
  Reaction(const Reaction&) = delete;
  Reaction& operator=(const Reaction&) = delete;
  static bool IsRunning() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

// Runs `destroy` soon, on the reaper's thread.
void Reap(std::function<void()> destroy);

// For what holds a channel: in a reaction it is destroyed by the reaper, elsewhere at once.
template <typename T, typename... Args>
std::shared_ptr<T> MakeReaped(Args&&... args) {
  return std::shared_ptr<T>(new T(std::forward<Args>(args)...), [](T* object) {
    if (Reaction::IsRunning()) {
      Reap([object] { delete object; });
    } else {
      delete object;
    }
  });
}

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_REAPER_H_
