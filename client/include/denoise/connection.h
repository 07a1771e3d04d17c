// What a Client needs of a server. Clients' tests put a mock in its place:
//
//     auto connection = std::make_shared<MockConnection>();
//     denoise::Client client(connection);
#ifndef DENOISE_CONNECTION_H_
#define DENOISE_CONNECTION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "denoise/async_call.h"
#include "denoise/options.h"
#include "denoise/stream.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Thread-safe. Each call is what the Client's call of that name says.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual SampleStream Sample(const SampleRequest& request, const CallOptions& options) = 0;
  virtual AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                                const CallOptions& options) = 0;
  virtual DiffuseStream Diffuse(const DiffuseRequest& request, const CallOptions& options) = 0;
  virtual EvaluateStream Evaluate(const EvaluateRequest& request, const CallOptions& options) = 0;
  virtual AsyncCall EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                                  const CallOptions& options) = 0;
  virtual absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options) = 0;
  virtual absl::StatusOr<Model> GetModel(const std::string& model, int64_t version,
                                         const CallOptions& options) = 0;
  virtual absl::StatusOr<bool> Healthy(const std::string& model, const CallOptions& options) = 0;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CONNECTION_H_
