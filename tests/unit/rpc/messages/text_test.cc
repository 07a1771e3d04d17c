#include "server/rpc/messages/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(QuoteTest, EscapesWhateverIsNotPrintableAscii) {
  EXPECT_EQ(Quote("digits"), "\"digits\"");
  EXPECT_EQ(Quote("a\nb\"c"), "\"a\\nb\\\"c\"");
  EXPECT_EQ(Quote(absl::string_view("\0\x1b\xff", 3)), "\"\\000\\033\\377\"");
}

TEST(QuoteTest, CutsLongText) {
  EXPECT_EQ(Quote(std::string(64, 'x')), "\"" + std::string(64, 'x') + "\"");
  EXPECT_EQ(Quote(std::string(65, 'x')), "\"" + std::string(64, 'x') + "…\"");
}

TEST(OneLineTest, KeepsUtf8AndEscapesControlCharacters) {
  EXPECT_EQ(OneLine("σ = 1, x̂0 \xF0\x9F\x98\x80", 512), "σ = 1, x̂0 \xF0\x9F\x98\x80");
  EXPECT_EQ(OneLine("a\nb\x7F", 512), "a\\nb\\177");
}

TEST(OneLineTest, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(OneLine("\xC3(", 512), "\\303(");                           // no continuation
  EXPECT_EQ(OneLine("\xC0\xAF", 512), "\\300\\257");                    // overlong
  EXPECT_EQ(OneLine("\xED\xA0\x80", 512), "\\355\\240\\200");           // a surrogate
  EXPECT_EQ(OneLine("\xF4\x90\x80\x80", 512), "\\364\\220\\200\\200");  // past U+10FFFF
  EXPECT_EQ(OneLine("\xE2\x82", 512), "\\342\\202");                    // cut
}

TEST(OneLineTest, IsCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "σ";
  const std::string line = OneLine(text, 50);
  EXPECT_LE(line.size(), 50u);
  EXPECT_GT(line.size(), 40u);
  EXPECT_EQ(OneLine(line, 512), line);  // still UTF-8
  EXPECT_THAT(line, testing::EndsWith("…"));
}

TEST(WithoutPathsTest, HidesPathsAndAddresses) {
  const std::string text =
      WithoutPaths("cannot open \"/srv/models/x.pt\" at 0x7ffd1234abcd (/usr/lib/a.so): 3 rows/s");
  EXPECT_THAT(text, Not(HasSubstr("srv")));
  EXPECT_THAT(text, Not(HasSubstr("0x")));
  EXPECT_THAT(text, Not(HasSubstr("usr")));
  EXPECT_THAT(text, HasSubstr("cannot open"));
  EXPECT_THAT(text, HasSubstr("3 rows/s"));
}

}  // namespace
}  // namespace denoise
