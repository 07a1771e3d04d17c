// Reading samples from files, for `denoise diffuse`.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/diffuse_command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/npy.h"

namespace denoise::cli {
namespace {

absl::StatusOr<std::vector<float>> FromPng(const std::string& bytes, const Model& model) {
  const auto format = FormatOf(model);
  if (!format.ok()) return format.status();
  const auto picture = DecodePng(bytes, format->channels);
  if (!picture.ok()) return picture.status();
  if (picture->width != format->width || picture->height != format->height) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is ", picture->width, "x", picture->height, ", and samples of '",
                     model.name, "' are ", format->width, "x", format->height, ": resize it"));
  }
  return ToValues(*picture, *format);
}

// [C, H, W], or [n, C, H, W], or [H, W] where there is one channel.
absl::StatusOr<std::vector<float>> FromNpy(const std::string& bytes, const Model& model) {
  auto tensor = DecodeNpy(bytes);
  if (!tensor.ok()) return tensor.status();
  auto shape = tensor->shape;
  if (shape.size() == 2) shape.insert(shape.begin(), 1);
  if (shape.size() == 4) shape.erase(shape.begin());
  if (shape != model.sample_shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "its shape is [", absl::StrJoin(tensor->shape, ", "), "], and samples of '", model.name,
        "' are [", absl::StrJoin(model.sample_shape, ", "), "], or several of those"));
  }
  return std::move(tensor->values);
}

}  // namespace

int ReadImages(const std::vector<std::string>& paths, const Model& model, Console& console,
               Tensor* samples) {
  size_t size = 1;
  for (const int64_t extent : model.sample_shape) size *= static_cast<size_t>(extent);
  for (const auto& path : paths) {
    const auto bytes = ReadFile(path);
    if (!bytes.ok()) return console.Fail(bytes.status(), EX_NOINPUT);
    const auto values =
        HasExtension(path, ".npy") ? FromNpy(*bytes, model) : FromPng(*bytes, model);
    if (!values.ok()) {
      const auto status = absl::InvalidArgumentError(
          absl::StrCat("--image '", path, "': ", std::string(values.status().message())));
      return console.Fail(status, EX_DATAERR);
    }
    samples->values.insert(samples->values.end(), values->begin(), values->end());
  }
  samples->shape = {static_cast<int64_t>(samples->values.size() / size)};
  samples->shape.insert(samples->shape.end(), model.sample_shape.begin(), model.sample_shape.end());
  return EX_OK;
}

}  // namespace denoise::cli
