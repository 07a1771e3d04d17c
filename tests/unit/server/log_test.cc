// What the log's lines look like, and that nothing in a string can make a line of its own.
#include "server/log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>
#include <string>
#include <thread>

#include "nlohmann/json.hpp"
#include "spdlog/sinks/ostream_sink.h"

namespace denoise {
namespace {

using nlohmann::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr char kTime[] = "20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9:]+\\.[0-9][0-9][0-9]Z";

// Whatever a caller might put into a name.
const char* const kHostile[] = {
    "a\nb",
    "\r\n2026-01-01T00:00:00.000Z error forged",
    "\"}",
    "\\",
    "\x1b[31mred",
    "\x7f",
    "\xff\xfe",
    "\xed\xa0\x80",
    "\xc0\xaf",
    "x=1 y=2",
    "",
    "σ = 1",
    "{}",
    "%s",
    "\xE2\x80\xA8",
};

class LogTest : public testing::TestWithParam<LogFormat> {
 protected:
  void SetUp() override {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(written_));
    logger->set_formatter(NewLogFormatter(GetParam()));
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(std::move(logger));
  }
  void TearDown() override { spdlog::set_default_logger(before_); }

  // The one line that has been written since the last call, without its end.
  std::string Line() {
    std::string line = written_.str();
    written_.str("");
    EXPECT_THAT(line, EndsWith("\n"));
    line.pop_back();
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    return line;
  }

  std::ostringstream written_;
  std::shared_ptr<spdlog::logger> before_;
};

using TextLogTest = LogTest;
using JsonLogTest = LogTest;
INSTANTIATE_TEST_SUITE_P(Text, TextLogTest, testing::Values(LogFormat::kText));
INSTANTIATE_TEST_SUITE_P(Json, JsonLogTest, testing::Values(LogFormat::kJson));
INSTANTIATE_TEST_SUITE_P(Both, LogTest, testing::Values(LogFormat::kText, LogFormat::kJson));

TEST_P(TextLogTest, MessageAndFields) {
  LogEvent(spdlog::level::info, "request", {{"id", "a-1"}, {"rows", int64_t{3}}, {"seconds", 0.5}});
  EXPECT_THAT(Line(), MatchesRegex(std::string(kTime) + " info request id=a-1 rows=3 seconds=0.5"));
}

TEST_P(TextLogTest, QuotesWhatCannotStandBare) {
  LogEvent(spdlog::level::info, "m", {{"a", "two words"}, {"b", ""}, {"c", "say \"x\""}});
  EXPECT_THAT(Line(), EndsWith("info m a=\"two words\" b=\"\" c=\"say \\\"x\\\"\""));
}

TEST_P(TextLogTest, MessagesKeepTheirQuotesAndLoseTheirControls) {
  spdlog::warn("the model \"σ\"\n\x1b[31m");
  EXPECT_THAT(Line(), EndsWith("warning the model \"σ\"\\x0a\\x1b[31m"));
}

TEST_P(JsonLogTest, MessageAndFields) {
  LogEvent(spdlog::level::err, "request", {{"id", "a-1"}, {"rows", int64_t{3}}, {"seconds", 0.5}});
  const std::string line = Line();
  const json object = json::parse(line);
  EXPECT_THAT(object.at("time").get<std::string>(), MatchesRegex(kTime));
  EXPECT_EQ(object.at("level"), "error");
  EXPECT_EQ(object.at("message"), "request");
  EXPECT_EQ(object.at("id"), "a-1");
  EXPECT_EQ(object.at("rows"), 3);
  EXPECT_EQ(object.at("seconds"), 0.5);
  EXPECT_THAT(line, EndsWith(R"("message":"request","id":"a-1","rows":3,"seconds":0.5})"));
}

TEST_P(JsonLogTest, HostileStringsComeBackAsTheyWere) {
  for (const std::string text : kHostile) {
    LogEvent(spdlog::level::info, text, {{"field", text}});
    const json object = json::parse(Line());
    EXPECT_EQ(object.size(), 4u) << text;
    EXPECT_EQ(object.at("message"), object.at("field"));
    if (static_cast<unsigned char>(text[0]) < 0xC0 || text == "σ = 1") {  // it is UTF-8
      EXPECT_EQ(object.at("field"), text);
    }
  }
}

TEST_P(JsonLogTest, WhatIsNoNumberIsNull) {
  LogEvent(spdlog::level::info, "m", {{"seconds", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_TRUE(json::parse(Line()).at("seconds").is_null());
}

TEST_P(LogTest, HostileStringsStayInTheirLine) {
  for (const std::string text : kHostile) {
    LogEvent(spdlog::level::info, text, {{"field", text}});
    for (const char c : Line()) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << text;
  }
}

TEST_P(LogTest, FieldsAreOfTheirLineAlone) {
  LogEvent(spdlog::level::info, "with", {{"secret", "x"}});
  EXPECT_THAT(Line(), HasSubstr("secret"));
  spdlog::info("without");
  EXPECT_THAT(Line(), Not(HasSubstr("secret")));
}

TEST_P(LogTest, WhatIsBelowTheLevelIsNotWritten) {
  LogEvent(spdlog::level::debug, "quiet", {});
  EXPECT_EQ(written_.str(), "");
}

TEST_P(LogTest, ThreadsDoNotMixTheirFields) {
  const auto log = [](const char* name) {
    for (int i = 0; i < 200; ++i) LogEvent(spdlog::level::info, name, {{name, name}});
  };
  std::thread other(log, "one");
  log("two");
  other.join();
  std::istringstream lines(written_.str());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_NE(line.find("one") == line.npos, line.find("two") == line.npos) << line;
  }
  EXPECT_EQ(count, 400);
}

}  // namespace
}  // namespace denoise
