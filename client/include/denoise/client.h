// A client of a Denoised server.
//
//     auto client = denoise::Client::Connect("dns:///denoised:8500");
//     if (!client.ok()) return client.status();
//     denoise::SampleRequest request;
//     request.class_labels = {7};
//     for (auto& event : client->Sample(request)) { … }
#ifndef DENOISE_CLIENT_H_
#define DENOISE_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "denoise/async_call.h"
#include "denoise/connection.h"
#include "denoise/error_details.h"
#include "denoise/options.h"
#include "denoise/stream.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Thread-safe and cheap to copy; copies share a connection, which lives until the last of them and
// of their calls.
//
// Errors are the server's, with its google.rpc details (see DetailsOf), and besides UNAVAILABLE (no
// server), DEADLINE_EXCEEDED, CANCELLED, INVALID_ARGUMENT for what cannot be sent, and DATA_LOSS
// for an answer that breaks the protocol.
class Client {
 public:
  // `address` is HOST:PORT, dns:///NAME:PORT, or several as ipv4:A:1,B:2; options.balancing says
  // which of several is used. INVALID_ARGUMENT for a malformed one; UNAVAILABLE if nothing answers
  // (or, under kRoundRobin, nothing that serves) within options.connect_timeout.
  static absl::StatusOr<Client> Connect(const std::string& address,
                                        const ClientOptions& options = {});

  explicit Client(std::shared_ptr<Connection> connection);

  // Runs the reverse process. Returns at once; the stream waits where it is read.
  SampleStream Sample(const SampleRequest& request, const CallOptions& options = {});

  // The same, for those that want nothing but the end of it.
  absl::StatusOr<Result> SampleAndWait(const SampleRequest& request,
                                       const CallOptions& options = {});

  // The same, without a thread that waits.
  AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                        const CallOptions& options = {});

  // Runs the forward process.
  DiffuseStream Diffuse(const DiffuseRequest& request, const CallOptions& options = {});

  // Bounds the likelihood of samples. As with Sample: a stream, the end of it, or callbacks.
  EvaluateStream Evaluate(const EvaluateRequest& request, const CallOptions& options = {});
  absl::StatusOr<Likelihood> EvaluateAndWait(const EvaluateRequest& request,
                                             const CallOptions& options = {});
  AsyncCall EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                          const CallOptions& options = {});

  // The models that are served.
  absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options = {});

  // One model. Empty: the only one that is served. Version 0: the newest. NOT_FOUND if there is
  // none.
  absl::StatusOr<Model> GetModel(const std::string& model = "", int64_t version = 0,
                                 const CallOptions& options = {});

  // Whether a model takes requests; the server as a whole if empty. NOT_FOUND if it has no such
  // model.
  absl::StatusOr<bool> Healthy(const std::string& model = "", const CallOptions& options = {});

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_H_
