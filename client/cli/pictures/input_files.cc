#include "client/cli/pictures/input_files.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/flags/common_flags.h"
#include "client/cli/pictures/npy.h"

namespace denoise::cli {
namespace {

// A picture of the model's height and width, brought to `format`.
absl::StatusOr<std::vector<float>> FromPng(const std::string& bytes, const Model& model,
                                           const SampleFormat& format) {
  const auto picture = DecodePng(bytes, format.channels);
  if (!picture.ok()) return picture.status();
  if (picture->width != format.width || picture->height != format.height) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is ", picture->width, "x", picture->height, ", and samples of '",
                     model.name, "' are ", format.width, "x", format.height, ": resize it"));
  }
  return ToValues(*picture, format);
}

absl::StatusOr<std::vector<float>> SamplesFromPng(const std::string& bytes, const Model& model) {
  const auto format = FormatOf(model, /*decoded=*/false);
  if (!format.ok()) return format.status();
  return FromPng(bytes, model, *format);
}

absl::StatusOr<std::vector<float>> SamplesFromNpy(const std::string& bytes, const Model& model) {
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

absl::StatusOr<Tensor> MaskFromPng(const std::string& bytes, const Model& model) {
  const SampleFormat format{.channels = 1,
                            .height = static_cast<int>(model.sample_shape[1]),
                            .width = static_cast<int>(model.sample_shape[2]),
                            .value_min = 0,
                            .value_max = 1};
  auto values = FromPng(bytes, model, format);
  if (!values.ok()) return values.status();
  return Tensor{{1, 1, format.height, format.width}, *std::move(values)};
}

absl::StatusOr<Tensor> MaskFromNpy(const std::string& bytes, const Model& model) {
  const auto array = DecodeNpyArray(bytes);
  if (!array.ok()) return array.status();
  Tensor mask{array->shape, {}};
  while (mask.shape.size() < 4) mask.shape.insert(mask.shape.begin(), 1);
  const auto& sample = model.sample_shape;
  if (mask.shape.size() != 4 || (mask.shape[1] != 1 && mask.shape[1] != sample[0]) ||
      mask.shape[2] != sample[1] || mask.shape[3] != sample[2]) {
    return absl::InvalidArgumentError(
        absl::StrCat("its shape is [", absl::StrJoin(array->shape, ", "), "], and a mask for '",
                     model.name, "' is [", sample[1], ", ", sample[2], "] or [1 or n, 1 or ",
                     sample[0], ", ", sample[1], ", ", sample[2], "]"));
  }
  std::visit([&mask](const auto& values) { mask.values.assign(values.begin(), values.end()); },
             array->values);
  return mask;
}

// Reads a file and decodes its bytes; an error names both.
template <typename T, typename DecodeBytes>
absl::StatusOr<T> Read(const std::string& flag, const std::string& path, DecodeBytes decode) {
  const auto bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<T> value = decode(*bytes);
  if (value.ok()) return value;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " '", path, "': ", std::string(value.status().message())));
}

}  // namespace

absl::StatusOr<Tensor> ReadSamples(const std::string& flag, const std::vector<std::string>& paths,
                                   const Model& model) {
  Tensor samples;
  size_t size = 1;
  for (const int64_t extent : model.sample_shape) size *= static_cast<size_t>(extent);
  for (const auto& path : paths) {
    const auto values = Read<std::vector<float>>(flag, path, [&](const std::string& bytes) {
      return HasExtension(path, ".npy") ? SamplesFromNpy(bytes, model)
                                        : SamplesFromPng(bytes, model);
    });
    if (!values.ok()) return values.status();
    samples.values.insert(samples.values.end(), values->begin(), values->end());
  }
  samples.shape = {static_cast<int64_t>(samples.values.size() / size)};
  samples.shape.insert(samples.shape.end(), model.sample_shape.begin(), model.sample_shape.end());
  return samples;
}

absl::StatusOr<Tensor> ReadMask(const std::string& flag, const std::string& path,
                                const Model& model) {
  return Read<Tensor>(flag, path, [&](const std::string& bytes) {
    return HasExtension(path, ".npy") ? MaskFromNpy(bytes, model) : MaskFromPng(bytes, model);
  });
}

absl::StatusOr<Tensor> ReadTensor(const std::string& flag, const std::string& path) {
  return Read<Tensor>(flag, path, DecodeNpy);
}

absl::StatusOr<std::map<std::string, Array>> ReadArrays(const std::string& flag,
                                                        const std::vector<NamedFile>& files) {
  std::map<std::string, Array> arrays;
  for (const auto& [name, path] : files) {
    auto array = Read<Array>(flag, path, DecodeNpyArray);
    if (!array.ok()) return array.status();
    arrays[name] = *std::move(array);
  }
  return arrays;
}

int InputExitCode(const absl::Status& status) {
  return absl::IsNotFound(status) ? EX_NOINPUT : EX_DATAERR;
}

}  // namespace denoise::cli
