// How long a denoiser call takes at a batch size.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_BATCH_TIME_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_BATCH_TIME_H_

#include <cstdint>
#include <limits>

namespace denoise {

struct BatchTime {
  int64_t rows = 0;
  // Of one call, the quickest of several.
  double seconds = std::numeric_limits<double>::infinity();

  double rows_per_second() const { return static_cast<double>(rows) / seconds; }
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_BATCH_TIME_H_
