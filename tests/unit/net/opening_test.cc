#include "net/opening.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// Of every prefix of `opening`, that there is more to come; of the whole, with and without more,
// that it is one.
void ExpectOpening(Opening (*check)(absl::string_view), const std::string& opening) {
  for (size_t size = 0; size < opening.size(); ++size) {
    EXPECT_EQ(check(absl::string_view(opening).substr(0, size)), Opening::kIncomplete) << size;
  }
  EXPECT_EQ(check(opening), Opening::kComplete);
  EXPECT_EQ(check(absl::StrCat(opening, "and more")), Opening::kComplete);
}

// A record of TLS with so many bytes.
std::string Record(size_t size) {
  std::string record = "\x16\x03\x01";
  record += static_cast<char>(size / 256);
  record += static_cast<char>(size % 256);
  return record + std::string(size, '\1');
}

TEST(OpeningTest, Http2) {
  ExpectOpening(&Http2Opening, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  for (const std::string& other :
       {std::string("GET / HTTP/1.1\r\n"), Record(300), std::string(1, '\0')}) {
    EXPECT_EQ(Http2Opening(other), Opening::kWrong) << other;
  }
}

TEST(OpeningTest, Tls) {
  ExpectOpening(&TlsOpening, Record(300));
  for (const std::string& other :
       {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("\x16\x02"),
        std::string(1, '\0'), Record(kMaxOpeningBytes)}) {
    EXPECT_EQ(TlsOpening(other), Opening::kWrong);
  }
}

TEST(OpeningTest, Http1) {
  ExpectOpening(&Http1Opening, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
  // Header fields without end.
  const std::string field = "X-Field: 1\r\n";
  std::string many = "GET / HTTP/1.1\r\n";
  while (many.size() + field.size() < kMaxOpeningBytes) many += field;
  EXPECT_EQ(Http1Opening(many), Opening::kIncomplete);
  EXPECT_EQ(Http1Opening(many + field), Opening::kWrong);
}

}  // namespace
}  // namespace denoise
