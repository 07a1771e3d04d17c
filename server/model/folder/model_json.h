// Reads model.json.
#ifndef DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_H_
#define DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_info.h"

namespace denoise {

// Whether `name` can be a model's: 1 to 128 of A-Z a-z 0-9 . _ -, the first not a dot.
bool IsModelName(absl::string_view name);

// Fills what model.json says of a model that was trained with `train_steps` steps: all of ModelInfo
// up to `default_guidance_scale` but the version; `name` and the hashes stay empty where the
// file does not have them. Keys that are not known come back in `ignored_keys`.
//
//   sample_shape            [C, H, W], each ≥ 1; the one key that must be there
//   name                    as IsModelName
//   value_range             [min, max] of samples, finite; [-1, 1]
//   levels                  how many values a sample's element can have, ≥ 2
//   num_classes             ≥ 0; 0: the denoiser is called without y
//   null_class              the label that means none, ≥ 0; only with num_classes
//   inputs                  what forward takes after x and t, in the order of its arguments;
//                           without the key, y (named class_labels) where there are classes
//     name                    by which requests give it; as IsModelName, no two alike
//     kind                    class_labels (once, iff num_classes > 0; nothing further), condition
//     dtype                   float32, int64 or bool
//     shape                   of one sample, without N; extents ≥ 1, or -1 for any; 8 at most
//     null                    what stands for none: one value for all elements, or a flat list
//                             of them all; without it every request must give the input
//   default_sampler         "ddim", "euler", …; that of scheduler_config.json
//   default_steps           1..train_steps; 50, or all where there are fewer
//   default_guidance_scale  0..100; 1. Others than 0 and 1 need a null_class, or a null
//   decoder                 of decoder.pt, for models whose samples are latents:
//     value_range             [min, max] of what it answers; [-1, 1]
//     sha256                  64 hexadecimal digits
//   data, licence           texts
//   sha256                  of denoiser.pt, 64 hexadecimal digits
//   sha256_pt2              of denoiser.pt2, likewise; without it no package is loaded
//
// INVALID_ARGUMENT, naming key and value and what would be right.
absl::StatusOr<ModelInfo> ParseModelJson(absl::string_view json, int64_t train_steps,
                                         std::vector<std::string>* ignored_keys);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_MODEL_JSON_H_
