// Numbers of a whole sample that some rows need before their update. Equal inputs give equal bits
// on every CPU. Nothing here fails, allocates or keeps state.
#ifndef DENOISE_SERVER_MODEL_CHAIN_SAMPLE_STATISTICS_H_
#define DENOISE_SERVER_MODEL_CHAIN_SAMPLE_STATISTICS_H_

#include <cstdint>

namespace denoise {

// The `ratio` quantile (0..1) of n ≥ 1 values, linear between the two nearest, with its rank in
// float32: torch.quantile(values, ratio). NaN where any value is. Leaves the values in another
// order.
float Quantile(float ratio, int64_t n, float* values);

// What the guided answer g = out_null + guidance (out - out_null) is to be multiplied by so that it
// becomes r g std(out)/std(g) + (1-r) g with r = `rescale`: Lin et al. 2023, "Common Diffusion
// Noise Schedules and Sample Steps are Flawed", section 3.4. std over the n values of each,
// unbiased, in double. 1 where g has no spread to be changed.
float GuidanceRescaling(const float* out, const float* out_null, float guidance, float rescale,
                        int64_t n);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_SAMPLE_STATISTICS_H_
