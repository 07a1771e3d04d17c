#include "net/http_server.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>

#include "absl/strings/str_cat.h"
#include "tests/unit/net/sockets.h"

namespace denoise {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kGet[] = "GET /hello HTTP/1.1\r\nHost: here\r\n\r\n";
constexpr size_t kMuch = 64 << 20;  // more than the kernel takes for who does not read

class HttpServerTest : public testing::Test {
 protected:
  void Start(const HttpServer::Options& options) {
    server_ = std::make_unique<HttpServer>(options);
    server_->Get("/hello", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("world", "text/plain");
    });
    server_->Get("/much", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(std::string(kMuch, 'x'), "text/plain");
    });
    server_->Get("/endless", [this](const httplib::Request&, httplib::Response& response) {
      response.set_chunked_content_provider("text/plain", [this](size_t, httplib::DataSink& sink) {
        ++parts_;
        return sink.write("part", 4);
      });
    });
    server_->Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "text/plain");
    });
    server_->set_payload_max_length(100);
    ASSERT_TRUE(server_->Bind("127.0.0.1:0").ok());
    ASSERT_TRUE(server_->Start().ok());
  }

  UniqueFd Ask(absl::string_view request) {
    UniqueFd caller = Connect(server_->port());
    Send(caller, request);
    return caller;
  }

  std::string Answer(absl::string_view request) { return ReadToEnd(Ask(request)); }

  std::atomic<int> parts_{0};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersOneRequestAConnection) {
  Start({});
  const std::string answer = Answer(absl::StrCat(kGet, kGet));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nworld"));
  EXPECT_THAT(Answer("GET /nothing HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Answer("POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
              EndsWith("\r\n\r\nabc"));
}

TEST_F(HttpServerTest, ARefusalIsReadThoughItsBodyWasNot) {
  Start({});
  const std::string body(200, 'x');
  EXPECT_THAT(Answer(absl::StrCat("POST /echo HTTP/1.1\r\nContent-Length: 200\r\n\r\n", body)),
              StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpServerTest, HeadersWithoutEndAreCutOff) {
  Start({.read_timeout = std::chrono::hours(1)});
  std::string request = "GET /hello HTTP/1.1\r\n";
  while (request.size() < kMaxOpeningBytes) absl::StrAppend(&request, "X-Field: 1\r\n");
  EXPECT_EQ(Answer(request), "");
}

TEST_F(HttpServerTest, SlowHeadersHoldNobodyUp) {
  Start({.limits = {.max_connections = 4, .max_per_address = 4},
         .read_timeout = std::chrono::hours(1)});
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 50; ++i) slow.push_back(Ask("GET /hello HTTP/1.1\r\nX-Slow: "));
  EXPECT_THAT(Answer(kGet), EndsWith("world"));
}

TEST_F(HttpServerTest, ABodyThatDoesNotComeIsCutOff) {
  Start({.read_timeout = std::chrono::milliseconds(20)});
  EXPECT_THAT(Answer("POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\nx"),
              testing::Not(HasSubstr("200")));
}

TEST_F(HttpServerTest, AReaderThatDoesNotReadIsCutOff) {
  Start({.limits = {.max_connections = 1, .max_per_address = 1},
         .write_timeout = std::chrono::milliseconds(20)});
  const UniqueFd reader = Ask("GET /much HTTP/1.1\r\n\r\n");
  // It has the only connection, until it is cut off.
  while (Answer(kGet).empty()) std::this_thread::yield();
  EXPECT_LT(ReadToEnd(reader).size(), kMuch);
}

TEST_F(HttpServerTest, StopBreaksOffWhatHasNoEnd) {
  Start({});
  const UniqueFd reader = Ask("GET /endless HTTP/1.1\r\n\r\n");
  const UniqueFd stuck = Ask("GET /much HTTP/1.1\r\n\r\n");
  const UniqueFd slow = Ask("POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\nx");
  auto read = std::async(std::launch::async, [&] { return ReadToEnd(reader); });
  while (parts_ == 0) std::this_thread::yield();
  server_->Stop();
  EXPECT_THAT(read.get(), HasSubstr("part"));
  server_->Stop();  // again, harmless
}

}  // namespace
}  // namespace denoise
