#include "server/rpc/messages/wire_check.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/message.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// The low three bits of a tag; the field's number is above them.
enum WireType { kVarint = 0, kFixed64 = 1, kDelimited = 2, kFixed32 = 5 };

// What the allocator adds to a block, its rounding included.
constexpr uint64_t kBlock = 16;
// An entry of a map, with its links.
constexpr uint64_t kMapEntry = 256;
// A field that the type does not know, which is kept as it came.
constexpr uint64_t kUnknownField = 32;

uint64_t BytesOfString(uint64_t length) {
  constexpr uint64_t kInline = 15;
  return sizeof(std::string) + kBlock + (length > kInline ? length + kBlock : 0);
}

uint64_t BytesOfScalar(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return 1;
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_ENUM:
      return 4;
    default:
      return 8;
  }
}

// Whether its elements are varints, where they are packed.
bool IsVarint(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED32:
    case FieldDescriptor::TYPE_SFIXED64:
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_DOUBLE:
      return false;
    default:
      return true;
  }
}

class Walk {
 public:
  Walk(google::protobuf::io::ZeroCopyInputStream* bytes, uint64_t size, const WireLimits& limits)
      : in_(bytes), limits_(limits) {
    in_.PushLimit(static_cast<int>(size));
  }

  // A message, up to the limit that its length has pushed.
  absl::Status Message(const Descriptor& type) {
    if (static_cast<int>(path_.size()) > limits_.max_depth) {
      return Error("is too deep: messages may be in one another ", limits_.max_depth, " times");
    }
    while (in_.BytesUntilLimit() > 0) {
      const uint32_t tag = in_.ReadTagNoLastTag();
      const int number = static_cast<int>(tag >> 3);
      if (number == 0) return Error("is no message: it has a field without a number");
      if (++fields_ > limits_.max_fields) {
        return Error("has more than ", limits_.max_fields,
                     " fields and single elements; pack its elements, or send tensors as bytes");
      }
      const FieldDescriptor* field = type.FindFieldByNumber(number);
      if (field != nullptr) path_.push_back(field);
      absl::Status status = Field(field, tag & 7);
      if (!status.ok()) return status;
      if (field != nullptr) path_.pop_back();
    }
    return absl::OkStatus();
  }

  absl::Status Add(uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= limits_.max_bytes) return absl::OkStatus();
    return Error("brings what has been read so far to ", bytes_, " bytes of memory, more than the ",
                 limits_.max_bytes, " that a message may take; send less at once");
  }

  uint64_t BytesOf(const Descriptor& type) {
    auto [it, is_new] = sizes_.try_emplace(&type, 0);
    if (is_new) {
      const auto* prototype =
          google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type);
      it->second = prototype->SpaceUsedLong() + kBlock;
    }
    return it->second;
  }

  uint64_t bytes() const { return bytes_; }

 private:
  // What comes after a field's tag; `field` is null where the type does not know it.
  absl::Status Field(const FieldDescriptor* field, uint32_t wire_type) {
    switch (wire_type) {
      case kVarint: {
        uint64_t value;
        if (!in_.ReadVarint64(&value)) return CutOff();
        return AddScalar(field);
      }
      case kFixed32:
        return in_.Skip(4) ? AddScalar(field) : CutOff();
      case kFixed64:
        return in_.Skip(8) ? AddScalar(field) : CutOff();
      case kDelimited:
        return Delimited(field);
      default:  // groups, which no field of proto3 is
        return Error("is no message: it has a group, or a field of no type");
    }
  }

  absl::Status AddScalar(const FieldDescriptor* field) {
    if (field == nullptr) return Add(kUnknownField);
    return field->is_repeated() ? Add(BytesOfScalar(*field)) : absl::OkStatus();
  }

  absl::Status Delimited(const FieldDescriptor* field) {
    int length;
    if (!in_.ReadVarintSizeAsInt(&length)) return CutOff();
    if (length > in_.BytesUntilLimit()) {
      return Error("is cut off: ", length, " bytes are announced, and ", in_.BytesUntilLimit(),
                   " are there");
    }
    if (field == nullptr) return Skip(kUnknownField + BytesOfString(length), length);
    const uint64_t place =
        field->is_repeated() ? 2 * sizeof(void*) : 0;  // the list grows by halves
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return Skip(place + BytesOfString(length), length);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Part(*field, place, length);
      default:
        if (!field->is_repeated()) return Skip(kUnknownField + BytesOfString(length), length);
        return Packed(*field, length);
    }
  }

  absl::Status Skip(uint64_t costs, int length) {
    if (absl::Status status = Add(costs); !status.ok()) return status;
    return in_.Skip(length) ? absl::OkStatus() : CutOff();
  }

  absl::Status Part(const FieldDescriptor& field, uint64_t place, int length) {
    const Descriptor& type = *field.message_type();
    absl::Status status = Add(field.is_map() ? kMapEntry : place + BytesOf(type));
    if (!status.ok()) return status;
    const auto outer = in_.PushLimit(length);
    status = Message(type);
    in_.PopLimit(outer);
    return status;
  }

  absl::Status Packed(const FieldDescriptor& field, int length) {
    const uint64_t size = BytesOfScalar(field);
    if (!IsVarint(field)) return Skip(length, length);
    // A varint ends with the byte whose highest bit is 0.
    while (length > 0) {
      const void* data;
      int there;
      if (!in_.GetDirectBufferPointer(&data, &there)) return CutOff();
      const int part = std::min(there, length);
      const auto* begin = static_cast<const uint8_t*>(data);
      const auto elements = std::count_if(begin, begin + part, [](uint8_t b) { return b < 0x80; });
      if (absl::Status status = Add(elements * size); !status.ok()) return status;
      in_.Skip(part);
      length -= part;
    }
    return absl::OkStatus();
  }

  template <typename... Parts>
  absl::Status Error(const Parts&... parts) const {
    const std::string path = absl::StrJoin(
        path_, ".", [](std::string* out, const FieldDescriptor* f) { out->append(f->name()); });
    return FieldError(path.empty() ? "message" : path, absl::StrCat(parts...));
  }
  absl::Status CutOff() const { return Error("is cut off, or is no number"); }

  google::protobuf::io::CodedInputStream in_;
  const WireLimits limits_;
  uint64_t bytes_ = 0;
  uint32_t fields_ = 0;
  std::vector<const FieldDescriptor*> path_;
  absl::flat_hash_map<const Descriptor*, uint64_t> sizes_;
};

}  // namespace

absl::StatusOr<uint64_t> CheckWire(const Descriptor& type,
                                   google::protobuf::io::ZeroCopyInputStream* bytes, uint64_t size,
                                   const WireLimits& limits) {
  if (size > std::numeric_limits<int>::max()) {
    return FieldError("message", absl::StrCat(size, " bytes are more than Protobuf takes"));
  }
  Walk walk(bytes, size, limits);
  absl::Status status = walk.Add(walk.BytesOf(type));
  if (status.ok()) status = walk.Message(type);
  if (!status.ok()) return status;
  return walk.bytes();
}

}  // namespace denoise
