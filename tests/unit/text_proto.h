// Messages written in Protobuf's text format.
#ifndef DENOISE_TESTS_UNIT_TEXT_PROTO_H_
#define DENOISE_TESTS_UNIT_TEXT_PROTO_H_

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <utility>

namespace denoise {

// `message` with the fields of `text` merged into it.
template <typename Message>
Message With(Message message, const std::string& text) {
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &message)) << text;
  return message;
}

template <typename Message>
Message Proto(const std::string& text) {
  return With(Message(), text);
}

MATCHER_P(EqualsProto, text, "") {
  std::string differences;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&differences);
  const bool equal = differencer.Compare(Proto<std::decay_t<arg_type>>(text), arg);
  *result_listener << differences;
  return equal;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_TEXT_PROTO_H_
