#include "server/metrics/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::StartsWith;

// Everything that can be shown is shown.
void FillIn(Metrics& metrics) {
  const EngineMetrics engine = metrics.ForEngine("cpu:0");
  engine.chains_active->Set(3);
  engine.tick_seconds->Observe(0.01);
  engine.denoiser_seconds->Observe(0.009);
  engine.batch_rows->Observe(8);
  engine.engine_overhead_seconds->Observe(0.0001);
  engine.padding_rows_total->Increment();
  metrics.ForModel("digits").rows_total->Increment(8);
  metrics.RequestDone("digits", "Sample", "OK", 0.5);
  metrics.QueueSeconds(0.01);
  metrics.FirstStateSeconds(0.02);
  metrics.StatesSent(5);
  metrics.StatesDropped(2);
  metrics.ChainFailed("not_finite");
  metrics.RequestRejected("queue_full");
  metrics.ModelLoaded("digits", 1.5);
  metrics.SetRequestsWaiting([] { return 4.0; });
  metrics.SetCallers([] { return CallerGauges{.tenants = {{"art", 1, 2, 3}}}; });
}

// The answer to a GET, headers and all; empty where nobody listens.
std::string Get(int port, const std::string& path, const std::string& header = "") {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = absl::StrCat(
        "GET ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", header, "\r\n");
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
  }
  close(fd);
  return answer;
}

// The value on the line that starts with `name` and a space; NaN where there is none.
double Value(const std::string& text, const std::string& name) {
  const std::string padded = absl::StrCat("\n", text);
  const size_t at = padded.find(absl::StrCat("\n", name, " "));
  if (at == std::string::npos) return std::strtod("nan", nullptr);
  return std::strtod(padded.c_str() + at + 1 + name.size(), nullptr);
}

TEST(MetricsTest, EveryFamilyHasItsNameAndLabels) {
  Metrics metrics;
  FillIn(metrics);
  const std::string text = metrics.Text();
  EXPECT_EQ(Value(text, "denoise_chains_active"), 3);
  EXPECT_EQ(Value(text, "denoise_requests_waiting"), 4);
  EXPECT_EQ(Value(text, "denoise_tick_seconds_count{device=\"cpu:0\"}"), 1);
  EXPECT_EQ(Value(text, "denoise_denoiser_seconds_sum{device=\"cpu:0\"}"), 0.009);
  EXPECT_EQ(Value(text, "denoise_batch_rows_bucket{le=\"8\"}"), 1);
  EXPECT_EQ(Value(text, "denoise_batch_rows_bucket{le=\"4\"}"), 0);
  EXPECT_EQ(Value(text, "denoise_engine_overhead_seconds_sum"), 0.0001);
  EXPECT_EQ(Value(text, "denoise_padding_rows_total"), 1);
  EXPECT_EQ(Value(text, "denoise_rows_total{model=\"digits\"}"), 8);
  EXPECT_EQ(Value(text, "denoise_requests_total{code=\"OK\",method=\"Sample\",model=\"digits\"}"),
            1)
      << text;
  EXPECT_EQ(Value(text, "denoise_request_seconds_sum{method=\"Sample\"}"), 0.5);
  EXPECT_EQ(Value(text, "denoise_queue_seconds_sum"), 0.01);
  EXPECT_EQ(Value(text, "denoise_first_state_seconds_sum"), 0.02);
  EXPECT_EQ(Value(text, "denoise_states_sent_total"), 5);
  EXPECT_EQ(Value(text, "denoise_states_dropped_total"), 2);
  EXPECT_EQ(Value(text, "denoise_chains_failed_total{reason=\"not_finite\"}"), 1);
  EXPECT_EQ(Value(text, "denoise_requests_rejected_total{reason=\"queue_full\"}"), 1);
  EXPECT_EQ(Value(text, "denoise_model_load_seconds{model=\"digits\"}"), 1.5);
  EXPECT_THAT(text, HasSubstr("denoise_build_info{"));
  EXPECT_THAT(text, HasSubstr("version=\"" DENOISE_VERSION "\""));
}

TEST(MetricsTest, EnginesShareWhatHasNoDevice) {
  Metrics metrics;
  const EngineMetrics one = metrics.ForEngine("cpu:0");
  const EngineMetrics other = metrics.ForEngine("cpu:1");
  one.chains_active->Set(3);
  other.chains_active->Set(4);
  one.batch_rows->Observe(2);
  other.batch_rows->Observe(2);
  EXPECT_EQ(Value(metrics.Text(), "denoise_chains_active"), 7);
  EXPECT_EQ(Value(metrics.Text(), "denoise_batch_rows_count"), 2);
  one.chains_active->Set(0);
  EXPECT_EQ(Value(metrics.Text(), "denoise_chains_active"), 4);
  EXPECT_NE(one.tick_seconds, other.tick_seconds);
  EXPECT_EQ(metrics.ForEngine("cpu:0").tick_seconds, one.tick_seconds);
}

TEST(MetricsTest, SameLabelsAreOneSeries) {
  Metrics metrics;
  for (int i = 0; i < 3; ++i) metrics.RequestDone("", "Sample", "NOT_FOUND", 0.001);
  metrics.RequestDone("", "Sample", "CANCELLED", 0.001);
  const std::string text = metrics.Text();
  EXPECT_EQ(Value(text, "denoise_requests_total{code=\"NOT_FOUND\",method=\"Sample\",model=\"\"}"),
            3);
  EXPECT_EQ(Value(text, "denoise_request_seconds_count{method=\"Sample\"}"), 4);
}

TEST(MetricsTest, WaitingIsReadAtEveryScrapeUntilItIsUnset) {
  Metrics metrics;
  EXPECT_EQ(Value(metrics.Text(), "denoise_requests_waiting"), 0);
  double waiting = 1;
  metrics.SetRequestsWaiting([&] { return waiting; });
  EXPECT_EQ(Value(metrics.Text(), "denoise_requests_waiting"), 1);
  waiting = 2;
  EXPECT_EQ(Value(metrics.Text(), "denoise_requests_waiting"), 2);
  metrics.SetRequestsWaiting(nullptr);
  EXPECT_EQ(Value(metrics.Text(), "denoise_requests_waiting"), 0);
}

TEST(MetricsTest, CallersAreReadAtEveryScrapeUntilThatIsUnset) {
  Metrics metrics;
  EXPECT_EQ(Value(metrics.Text(), "denoise_token_file_stale"), 0);
  metrics.SetCallers([] {
    return CallerGauges{.tenants = {{"art", 1, 2, 3}, {"", 4, 5, 6}}, .token_file_stale = true};
  });
  const std::string text = metrics.Text();
  EXPECT_EQ(Value(text, "denoise_tenant_requests_waiting{tenant=\"art\"}"), 1);
  EXPECT_EQ(Value(text, "denoise_tenant_waiting_bytes{tenant=\"art\"}"), 2);
  EXPECT_EQ(Value(text, "denoise_tenant_chains_active{tenant=\"\"}"), 6);
  EXPECT_EQ(Value(text, "denoise_token_file_stale"), 1);
  metrics.SetCallers(nullptr);
  EXPECT_EQ(Value(metrics.Text(), "denoise_token_file_stale"), 0);
}

TEST(MetricsTest, ScrapesMayNeedAToken) {
  Metrics metrics;
  const auto port =
      metrics.Listen("127.0.0.1:0", [](absl::string_view token) { return token == "right"; });
  ASSERT_TRUE(port.ok()) << port.status();
  const auto get = [&](const std::string& headers) { return Get(*port, "/metrics", headers); };
  for (const char* headers : {"", "Authorization: Bearer wrong\r\n", "Authorization: right\r\n",
                              "Authorization: Basic right\r\n",
                              "Authorization: Bearer right\r\nAuthorization: Bearer wrong\r\n"}) {
    EXPECT_THAT(get(headers), StartsWith("HTTP/1.1 401")) << headers;
    EXPECT_THAT(get(headers), Not(HasSubstr("denoise_"))) << headers;
  }
  EXPECT_THAT(get("Authorization: Bearer right\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(MetricsTest, ProcessIsThisOne) {
  Metrics metrics;
  const std::string text = metrics.Text();
  EXPECT_GT(Value(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(Value(text, "process_virtual_memory_bytes"),
            Value(text, "process_resident_memory_bytes"));
  EXPECT_GE(Value(text, "process_cpu_seconds_total"), 0);
  EXPECT_GT(Value(text, "process_max_fds"), Value(text, "process_open_fds"));
  const double now = static_cast<double>(std::time(nullptr));
  EXPECT_THAT(Value(text, "process_start_time_seconds"), AllOf(Ge(now - 3600), Le(now + 2)));

  const double open = Value(text, "process_open_fds");
  const int fd = dup(0);
  EXPECT_EQ(Value(metrics.Text(), "process_open_fds"), open + 1);
  close(fd);

  const double threads = Value(text, "process_threads");
  ASSERT_TRUE(metrics.Listen("127.0.0.1:0").ok());
  EXPECT_GT(Value(metrics.Text(), "process_threads"), threads);
}

TEST(MetricsTest, ListensOnAnyPort) {
  Metrics metrics;
  FillIn(metrics);
  const absl::StatusOr<int> port = metrics.Listen("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  ASSERT_GT(*port, 0);
  const std::string answer = Get(*port, "/metrics");
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("denoise_chains_active 3")));
  EXPECT_THAT(Get(*port, "/etc/passwd"),
              AllOf(StartsWith("HTTP/1.1 404"), Not(HasSubstr("root:"))));
}

// As a server does that has nothing left to do.
TEST(MetricsTest, AnIdleListenerEndsAtOnce) {
  auto metrics = std::make_unique<Metrics>();
  const absl::StatusOr<int> port = metrics->Listen("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  Get(*port, "/metrics");
  const auto begin = std::chrono::steady_clock::now();
  metrics.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(MetricsTest, TakenPortIsSaidByName) {
  Metrics first, second;
  const absl::StatusOr<int> port = first.Listen("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  const std::string address = absl::StrCat("127.0.0.1:", *port);
  const absl::Status status = second.Listen(address).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
  EXPECT_THAT(Get(*port, "/metrics"), StartsWith("HTTP/1.1 200"));
}

TEST(MetricsTest, RefusesWhatIsNoAddress) {
  for (const char* address :
       {"", "8501", ":8501", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
        "127.0.0.1:-1", "127.0.0.1:0s", "127.0.0.1:0,127.0.0.1:0"}) {
    Metrics metrics;
    const absl::Status status = metrics.Listen(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("'", address, "'")));
  }
}

TEST(MetricsTest, ScrapedWhileWritten) {
  Metrics metrics;
  const EngineMetrics engine = metrics.ForEngine("cpu:0");
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        engine.tick_seconds->Observe(0.001);
        metrics.RequestDone("digits", "Sample", absl::StrCat("CODE", i % 5), 0.1);
      }
    });
  }
  for (int i = 0; i < 10; ++i) metrics.Text();
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(Value(metrics.Text(), "denoise_tick_seconds_count{device=\"cpu:0\"}"), 800);
  EXPECT_EQ(Value(metrics.Text(), "denoise_request_seconds_count{method=\"Sample\"}"), 800);
}

#ifdef PROMTOOL
// What a scraper is answered, the exposer's own metrics too.
TEST(MetricsTest, PromtoolFindsNothing) {
  Metrics metrics;
  FillIn(metrics);
  const absl::StatusOr<int> port = metrics.Listen("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  Get(*port, "/metrics");
  const std::string answer = Get(*port, "/metrics");
  const std::string path = absl::StrCat(testing::TempDir(), "/metrics.", getpid(), ".txt");
  std::ofstream(path) << answer.substr(answer.find("\r\n\r\n") + 4);

  FILE* promtool = popen(absl::StrCat(PROMTOOL " check metrics 2>&1 <", path).c_str(), "r");
  ASSERT_NE(promtool, nullptr);
  std::string said;
  for (int c; (c = std::fgetc(promtool)) != EOF;) said.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(promtool), 0) << said;
  EXPECT_EQ(said, "");
  std::remove(path.c_str());
}
#endif

}  // namespace
}  // namespace denoise
