// Image to image: a chain that begins on the way, at a noised image.
#ifndef DENOISE_SERVER_DIFFUSION_IMAGE_START_H_
#define DENOISE_SERVER_DIFFUSION_IMAGE_START_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/diffusion/table.h"

namespace denoise {

// ⌊steps · strength⌋, the number of steps that are run: the last so many. 1..steps, otherwise a
// FieldError "image_to_image.strength".
//
// `strength` counts as the shortest decimal number that its float32 shows as, because that is what
// the caller wrote, and what diffusers multiplies in double: of 10 steps 0.7 are 7, though the
// float32 nearest to 0.7 is below it.
absl::StatusOr<int64_t> StepsOfStrength(int64_t steps, double strength);

// x = alpha image + sigma z, at the level that `table` starts from.
void StartFromImage(Table* table);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_IMAGE_START_H_
