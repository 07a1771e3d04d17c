// A token bucket: so much at once, and so much a second.
#ifndef DENOISE_SERVER_ENGINE_TOKEN_BUCKET_H_
#define DENOISE_SERVER_ENGINE_TOKEN_BUCKET_H_

#include <chrono>

#include "server/engine/clock.h"

namespace denoise {

// All that is kept is when the bucket is full again, so nothing has to fill it, and callers of one
// bucket may have different rates. It is full at first. Not thread-safe.
class TokenBucket {
 public:
  struct Rate {
    double per_second = 0;  // tokens that come back; 0: no bound
    double burst = 0;       // that a full bucket holds; above 0
  };

  // How long `tokens` have to wait as things are; zero: they may be taken. More than the burst may
  // be taken from a full bucket and is paid off afterwards, so that no size waits for ever.
  std::chrono::nanoseconds Wait(double tokens, const Rate& rate, SteadyTime now) const;
  void Take(double tokens, const Rate& rate, SteadyTime now);

  SteadyTime full_at() const { return full_at_; }

 private:
  SteadyTime full_at_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_TOKEN_BUCKET_H_
