#include "server/rpc/inference/infer_inputs.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/inference/parameters.h"
#include "server/rpc/messages/tensor_proto.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

using Contents = inference::InferTensorContents;

constexpr size_t kLengthBytes = 4;  // before each element of BYTES

std::string FieldOfInput(absl::string_view name) {
  return absl::StrCat("inputs[", Quote(name), "]");
}

std::string NamesOf(absl::Span<const TensorSpec> specs) {
  return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& spec) {
    absl::StrAppend(out, Quote(spec.name));
  });
}

template <typename T>
T Element(const std::string& data, size_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T, typename Values>
std::string Packed(const Values& values) {
  std::string bytes;
  bytes.reserve(values.size() * sizeof(T));
  for (const T value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
  return bytes;
}

std::string PackedStrings(const Contents& contents) {
  std::string bytes;
  for (const std::string& element : contents.bytes_contents()) {
    const auto length = static_cast<uint32_t>(element.size());
    bytes.append(reinterpret_cast<const char*>(&length), kLengthBytes);
    bytes.append(element);
  }
  return bytes;
}

int ElementsIn(const Contents& contents) {
  return contents.bool_contents_size() + contents.int_contents_size() +
         contents.int64_contents_size() + contents.uint_contents_size() +
         contents.uint64_contents_size() + contents.fp32_contents_size() +
         contents.fp64_contents_size() + contents.bytes_contents_size();
}

struct Typed {
  int elements;
  std::string data;
};

// What is in the field of that type.
Typed ContentsOf(const Contents& contents, InferType type) {
  switch (type) {
    case InferType::kBool:
      return {contents.bool_contents_size(), Packed<bool>(contents.bool_contents())};
    case InferType::kInt32:
      return {contents.int_contents_size(), Packed<int32_t>(contents.int_contents())};
    case InferType::kUint32:
      return {contents.uint_contents_size(), Packed<uint32_t>(contents.uint_contents())};
    case InferType::kInt64:
      return {contents.int64_contents_size(), Packed<int64_t>(contents.int64_contents())};
    case InferType::kUint64:
      return {contents.uint64_contents_size(), Packed<uint64_t>(contents.uint64_contents())};
    case InferType::kFp32:
      return {contents.fp32_contents_size(), Packed<float>(contents.fp32_contents())};
    case InferType::kBytes:
      return {contents.bytes_contents_size(), PackedStrings(contents)};
  }
  return {0, ""};
}

// Elements of BYTES; nullopt where lengths and bytes do not agree.
std::optional<uint64_t> CountStrings(const std::string& data) {
  uint64_t count = 0;
  size_t at = 0;
  while (at < data.size()) {
    if (data.size() - at < kLengthBytes) return std::nullopt;
    uint32_t length;
    std::memcpy(&length, data.data() + at, kLengthBytes);
    at += kLengthBytes;
    if (data.size() - at < length) return std::nullopt;
    at += length;
    ++count;
  }
  return count;
}

// The product of the extents, of at most `max`; nullopt where it is more. Extents may be as large
// as int64 goes.
std::optional<uint64_t> ElementsOf(absl::Span<const int64_t> shape, uint64_t max) {
  uint64_t elements = 1;
  for (const int64_t extent : shape) {
    if (elements > max / static_cast<uint64_t>(extent)) return std::nullopt;
    elements *= static_cast<uint64_t>(extent);
  }
  return elements;
}

absl::Status CheckShape(const InferTensor& tensor) {
  const auto bad = std::find_if(tensor.shape.begin(), tensor.shape.end(),
                                [](int64_t extent) { return extent < 1; });
  if (bad == tensor.shape.end()) return absl::OkStatus();
  return FieldError(absl::StrCat(tensor.field(), ".shape"),
                    absl::StrCat(ShapeText(tensor.shape), " has an extent of ", *bad,
                                 "; each must be 1 or more"));
}

// Whether the shape makes the bytes that there are.
absl::Status CheckBytes(const InferTensor& tensor) {
  uint64_t have = tensor.data.size();
  const char* unit = "bytes";
  uint64_t element = BytesOf(tensor.type);
  if (tensor.type == InferType::kBytes) {
    const std::optional<uint64_t> count = CountStrings(tensor.data);
    if (!count.has_value()) {
      return FieldError(tensor.field(),
                        "its bytes are no elements of BYTES: each is its length as four bytes, "
                        "then itself");
    }
    have = *count;
    unit = "elements";
    element = 1;
  }
  const std::optional<uint64_t> elements = ElementsOf(tensor.shape, have / element);
  if (elements.has_value() && *elements * element == have) return absl::OkStatus();
  return FieldError(tensor.field(), absl::StrCat(have, " ", unit, " are not those of ",
                                                 ShapeText(tensor.shape), " ", Name(tensor.type)));
}

// Where the bytes of a request's inputs come from, in their order.
class Source {
 public:
  Source(const inference::ModelInferRequest& message, const SharedMemory& shared_memory,
         uint64_t max_bytes)
      : message_(message), shared_memory_(shared_memory), bytes_left_(max_bytes) {}

  absl::Status Fill(const inference::ModelInferRequest::InferInputTensor& input,
                    InferTensor* tensor) {
    const auto place = PlaceOf(input.parameters(), tensor->field());
    if (!place.ok()) return place.status();
    const int elements = ElementsIn(input.contents());
    if (place->has_value()) {
      if (elements > 0) return Twice(*tensor, "contents and shared memory");
      return FillShared(**place, tensor);
    }
    if (message_.raw_input_contents_size() > 0) {
      if (elements > 0) return Twice(*tensor, "contents and raw_input_contents");
      if (next_raw_ == message_.raw_input_contents_size()) return WrongCount();
      tensor->data = message_.raw_input_contents(next_raw_++);
      return absl::OkStatus();
    }
    Typed typed = ContentsOf(input.contents(), tensor->type);
    if (typed.elements != elements) {
      return FieldError(absl::StrCat(tensor->field(), ".contents"),
                        absl::StrCat("has elements of another type than ", Name(tensor->type)));
    }
    tensor->data = std::move(typed.data);
    return absl::OkStatus();
  }

  // After the last input.
  absl::Status CheckDone() const {
    return next_raw_ == message_.raw_input_contents_size() ? absl::OkStatus() : WrongCount();
  }

 private:
  absl::Status FillShared(const SharedMemory::Place& place, InferTensor* tensor) {
    if (place.byte_size > bytes_left_) {
      return FieldError(tensor->field(), absl::StrCat(place.byte_size,
                                                      " bytes of shared memory are more than a "
                                                      "request may have (--max-message-bytes)"));
    }
    bytes_left_ -= place.byte_size;
    absl::StatusOr<std::string> data = shared_memory_.Read(place, tensor->field());
    if (!data.ok()) return data.status();
    tensor->data = *std::move(data);
    return absl::OkStatus();
  }

  absl::Status WrongCount() const {
    return FieldError("raw_input_contents",
                      absl::StrCat(message_.raw_input_contents_size(),
                                   " are not one for each input that is not in shared memory"));
  }

  static absl::Status Twice(const InferTensor& tensor, const char* both) {
    return FieldError(tensor.field(), absl::StrCat("has both ", both, "; give one"));
  }

  const inference::ModelInferRequest& message_;
  const SharedMemory& shared_memory_;
  uint64_t bytes_left_;
  int next_raw_ = 0;
};

absl::Status WrongType(const InferTensor& tensor, absl::string_view wanted) {
  return FieldError(absl::StrCat(tensor.field(), ".datatype"),
                    absl::StrCat(Name(tensor.type), " is not ", wanted));
}

absl::Status CheckOne(const InferTensor& tensor) {
  if (tensor.shape.size() == 1 && tensor.shape[0] == 1) return absl::OkStatus();
  return FieldError(absl::StrCat(tensor.field(), ".shape"),
                    absl::StrCat(ShapeText(tensor.shape), " is not [1]"));
}

}  // namespace

std::string InferTensor::field() const { return FieldOfInput(name); }

absl::StatusOr<std::vector<InferTensor>> ReadInputs(const inference::ModelInferRequest& message,
                                                    absl::Span<const TensorSpec> specs,
                                                    const SharedMemory& shared_memory,
                                                    uint64_t max_bytes) {
  if (static_cast<size_t>(message.inputs_size()) > specs.size()) {
    return FieldError("inputs", absl::StrCat(message.inputs_size(), " are more than the ",
                                             specs.size(), " there are: ", NamesOf(specs)));
  }
  Source source(message, shared_memory, max_bytes);
  std::vector<InferTensor> tensors;
  for (const auto& input : message.inputs()) {
    InferTensor tensor;
    tensor.name = input.name();
    const std::string field = tensor.field();
    const bool known = std::any_of(specs.begin(), specs.end(), [&](const TensorSpec& spec) {
      return spec.name == tensor.name;
    });
    if (!known) {
      return FieldError(field,
                        absl::StrCat("is no input of this model; it takes ", NamesOf(specs)));
    }
    for (const InferTensor& other : tensors) {
      if (other.name == tensor.name) return FieldError(field, "is there twice; give it once");
    }
    const std::optional<InferType> type = InferTypeOf(input.datatype());
    if (!type.has_value()) {
      return FieldError(absl::StrCat(field, ".datatype"),
                        absl::StrCat(Quote(input.datatype()),
                                     " is not BOOL, INT32, UINT32, INT64, UINT64, FP32 or BYTES"));
    }
    tensor.type = *type;
    tensor.shape.assign(input.shape().begin(), input.shape().end());
    absl::Status status = CheckShape(tensor);
    if (status.ok()) status = source.Fill(input, &tensor);
    if (status.ok()) status = CheckBytes(tensor);
    if (!status.ok()) return status;
    tensors.push_back(std::move(tensor));
  }
  if (absl::Status status = source.CheckDone(); !status.ok()) return status;
  return tensors;
}

std::optional<InferTensor> TakeInput(const std::string& name, std::vector<InferTensor>* tensors) {
  const auto it = std::find_if(tensors->begin(), tensors->end(),
                               [&](const InferTensor& tensor) { return tensor.name == name; });
  if (it == tensors->end()) return std::nullopt;
  InferTensor tensor = std::move(*it);
  tensors->erase(it);
  return tensor;
}

absl::StatusOr<v1::Tensor> ToTensor(InferTensor tensor, InferType wanted) {
  if (tensor.type != wanted) return WrongType(tensor, Name(wanted));
  v1::Tensor message;
  switch (wanted) {
    case InferType::kFp32:
      message.set_dtype(v1::DATA_TYPE_FLOAT32);
      break;
    case InferType::kInt64:
      message.set_dtype(v1::DATA_TYPE_INT64);
      break;
    case InferType::kBool:
      message.set_dtype(v1::DATA_TYPE_BOOL);
      break;
    default:
      return absl::InternalError("tensors of the API are FP32, INT64 or BOOL");
  }
  message.mutable_shape()->Assign(tensor.shape.begin(), tensor.shape.end());
  message.set_data(std::move(tensor.data));
  return message;
}

absl::StatusOr<std::vector<int64_t>> Integers(const InferTensor& tensor) {
  if (tensor.shape.size() != 1) {
    return FieldError(absl::StrCat(tensor.field(), ".shape"),
                      absl::StrCat(ShapeText(tensor.shape), " is not of one dimension"));
  }
  std::vector<int64_t> values(tensor.shape[0]);
  for (size_t i = 0; i < values.size(); ++i) {
    switch (tensor.type) {
      case InferType::kInt32:
        values[i] = Element<int32_t>(tensor.data, i);
        break;
      case InferType::kUint32:
        values[i] = Element<uint32_t>(tensor.data, i);
        break;
      case InferType::kInt64:
        values[i] = Element<int64_t>(tensor.data, i);
        break;
      case InferType::kUint64: {
        const auto value = Element<uint64_t>(tensor.data, i);
        if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
          return FieldError(tensor.field(),
                            absl::StrCat(value, " (value ", i, ") is more than an INT64 holds"));
        }
        values[i] = static_cast<int64_t>(value);
        break;
      }
      default:
        return WrongType(tensor, "INT64, INT32, UINT64 or UINT32");
    }
  }
  return values;
}

absl::StatusOr<std::vector<double>> Floats(const InferTensor& tensor) {
  if (tensor.type != InferType::kFp32) {
    absl::StatusOr<std::vector<int64_t>> integers = Integers(tensor);
    if (!integers.ok()) return integers.status();
    return std::vector<double>(integers->begin(), integers->end());
  }
  if (tensor.shape.size() != 1) {
    return FieldError(absl::StrCat(tensor.field(), ".shape"),
                      absl::StrCat(ShapeText(tensor.shape), " is not of one dimension"));
  }
  std::vector<double> values(tensor.shape[0]);
  for (size_t i = 0; i < values.size(); ++i) values[i] = Element<float>(tensor.data, i);
  return values;
}

absl::StatusOr<uint64_t> Unsigned(const InferTensor& tensor, uint64_t max) {
  if (absl::Status status = CheckOne(tensor); !status.ok()) return status;
  uint64_t value;
  if (tensor.type == InferType::kUint64) {
    value = Element<uint64_t>(tensor.data, 0);
  } else {
    const absl::StatusOr<std::vector<int64_t>> values = Integers(tensor);
    if (!values.ok()) return values.status();
    if ((*values)[0] < 0) {
      return FieldError(tensor.field(), absl::StrCat((*values)[0], " is not in 0..", max));
    }
    value = static_cast<uint64_t>((*values)[0]);
  }
  if (value > max) return FieldError(tensor.field(), absl::StrCat(value, " is not in 0..", max));
  return value;
}

absl::StatusOr<float> Float(const InferTensor& tensor) {
  if (absl::Status status = CheckOne(tensor); !status.ok()) return status;
  if (tensor.type != InferType::kFp32) return WrongType(tensor, "FP32");
  return Element<float>(tensor.data, 0);
}

absl::StatusOr<bool> Bool(const InferTensor& tensor) {
  if (absl::Status status = CheckOne(tensor); !status.ok()) return status;
  if (tensor.type != InferType::kBool) return WrongType(tensor, "BOOL");
  return Element<uint8_t>(tensor.data, 0) != 0;
}

absl::StatusOr<std::string> Text(const InferTensor& tensor) {
  if (absl::Status status = CheckOne(tensor); !status.ok()) return status;
  if (tensor.type != InferType::kBytes) return WrongType(tensor, "BYTES");
  return tensor.data.substr(kLengthBytes);
}

}  // namespace denoise
