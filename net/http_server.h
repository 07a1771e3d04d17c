// An HTTP/1.1 server that slow, silent and many callers cannot keep from the others.
#ifndef DENOISE_NET_HTTP_SERVER_H_
#define DENOISE_NET_HTTP_SERVER_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "httplib.h"
#include "net/acceptor.h"

namespace denoise {

// What cpp-httplib's server does with a request, without its accepting: a connection is accepted
// within limits, gets a thread when all of its header fields are there, is answered one request,
// and is closed. So there are never more threads than max_connections.
class HttpServer : private httplib::Server {
 public:
  struct Options {
    ConnectionLimits limits;
    // For the header fields, and then for the body.
    std::chrono::nanoseconds read_timeout = std::chrono::seconds(5);
    // For each part of the answer that is written at once.
    std::chrono::nanoseconds write_timeout = std::chrono::seconds(10);
  };

  explicit HttpServer(const Options& options) : options_(options) {}
  // Stop().
  ~HttpServer() override;

  // Before Bind().
  using httplib::Server::Get;
  using httplib::Server::HandlerResponse;
  using httplib::Server::Post;
  using httplib::Server::set_default_headers;
  using httplib::Server::set_error_handler;
  using httplib::Server::set_payload_max_length;
  using httplib::Server::set_pre_routing_handler;

  // Listens; who connects waits until Start(). The errors are those of Listener::Open().
  absl::Status Bind(const std::string& address);
  // After Bind().
  int port() const { return port_; }
  // Answers requests from now on. INTERNAL where the process has no descriptors left.
  absl::Status Start();
  // After Start().
  std::shared_ptr<const ConnectionCounts> counts() const { return counts_; }

  // Breaks off the answers under way and returns when all threads have ended. Content providers are
  // not called any more; one that waits holds it up. Not by a thread that answers.
  void Stop();

 private:
  void Serve(UniqueFd connection);
  void Answer(int connection);

  const Options options_;
  Listener listener_;  // until Start()
  int port_ = 0;
  std::shared_ptr<const ConnectionCounts> counts_;
  std::mutex mutex_;
  std::condition_variable none_left_;
  std::map<int, std::thread> answering_;  // by descriptor
  std::vector<std::thread> ended_;        // but for the last few instructions
  std::unique_ptr<Acceptor> acceptor_;    // of the thread that calls Serve()
};

}  // namespace denoise

#endif  // DENOISE_NET_HTTP_SERVER_H_
