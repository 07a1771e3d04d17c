#include "client/src/retrying_connection.h"

#include <random>
#include <type_traits>
#include <utility>

#include "client/src/call_progress.h"
#include "client/src/retry_context.h"
#include "client/src/retrying_call.h"
#include "client/src/retrying_source.h"

namespace denoise {
inline namespace client_v1 {
namespace {

struct SampleKind {
  using Request = SampleRequest;
  using Event = denoise::Event;
  using Progress = SampleProgress;
  static SampleStream Read(Connection& to, const Request& request, const CallOptions& options) {
    return to.Sample(request, options);
  }
  static AsyncCall Report(Connection& to, const Request& request, SampleCallbacks callbacks,
                          const CallOptions& options) {
    return to.SampleAsync(request, std::move(callbacks), options);
  }
};

struct DiffuseKind {
  using Request = DiffuseRequest;
  using Event = DiffuseEvent;
  using Progress = DiffuseProgress;
  static DiffuseStream Read(Connection& to, const Request& request, const CallOptions& options) {
    return to.Diffuse(request, options);
  }
};

struct EvaluateKind {
  using Request = EvaluateRequest;
  using Event = EvaluateEvent;
  using Progress = EvaluateProgress;
  static EvaluateStream Read(Connection& to, const Request& request, const CallOptions& options) {
    return to.Evaluate(request, options);
  }
  static AsyncCall Report(Connection& to, const Request& request, EvaluateCallbacks callbacks,
                          const CallOptions& options) {
    return to.EvaluateAsync(request, std::move(callbacks), options);
  }
};

double Random() {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

class RetryingConnection final : public Connection {
 public:
  explicit RetryingConnection(RetryContext context)
      : context_(std::make_shared<const RetryContext>(std::move(context))) {}

  SampleStream Sample(const SampleRequest& request, const CallOptions& options) override {
    return Read<SampleKind>(request, options);
  }
  AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                        const CallOptions& options) override {
    return RetryingCall<SampleKind>::Start(context_, request, std::move(callbacks), options);
  }
  DiffuseStream Diffuse(const DiffuseRequest& request, const CallOptions& options) override {
    return Read<DiffuseKind>(request, options);
  }
  EvaluateStream Evaluate(const EvaluateRequest& request, const CallOptions& options) override {
    return Read<EvaluateKind>(request, options);
  }
  AsyncCall EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                          const CallOptions& options) override {
    return RetryingCall<EvaluateKind>::Start(context_, request, std::move(callbacks), options);
  }
  absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options) override {
    return Ask(options, [&](const CallOptions& attempt) {
      return context_->connection->ListModels(attempt);
    });
  }
  absl::StatusOr<Model> GetModel(const std::string& model, int64_t version,
                                 const CallOptions& options) override {
    return Ask(options, [&](const CallOptions& attempt) {
      return context_->connection->GetModel(model, version, attempt);
    });
  }
  absl::StatusOr<bool> Healthy(const std::string& model, const CallOptions& options) override {
    return context_->connection->Healthy(model, options);
  }

 private:
  template <typename Kind>
  Stream<typename Kind::Event> Read(const typename Kind::Request& request,
                                    const CallOptions& options) {
    return Stream<typename Kind::Event>(
        std::make_unique<RetryingSource<Kind>>(context_, request, options));
  }

  template <typename Attempt>
  std::invoke_result_t<Attempt, const CallOptions&> Ask(const CallOptions& options,
                                                        const Attempt& attempt) {
    Retries retries = context_->NewRetries(options);
    for (;;) {
      auto answer = attempt(retries.OptionsAt(context_->timer->Now()));
      if (answer.ok()) return answer;
      const auto delay = context_->DelayAfter(answer.status(), &retries);
      if (!delay) return answer;
      RetryPause().Wait(*context_->timer, *delay);
    }
  }

  const std::shared_ptr<const RetryContext> context_;
};

}  // namespace

std::shared_ptr<Connection> WithRetries(std::shared_ptr<Connection> connection,
                                        const RetryPolicy& policy, absl::Duration default_timeout,
                                        std::shared_ptr<Timer> timer,
                                        std::function<double()> random) {
  return std::make_shared<RetryingConnection>(
      RetryContext{.connection = std::move(connection),
                   .policy = policy,
                   .default_timeout = default_timeout,
                   .timer = std::move(timer),
                   .random = random ? std::move(random) : &Random});
}

}  // namespace client_v1
}  // namespace denoise
