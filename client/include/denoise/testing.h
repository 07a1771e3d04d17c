// A fake server, for the tests of programs that use this library. Link
// Denoise::testing.
//
//     auto server = std::make_shared<denoise::testing::FakeConnection>();
//     server->on_sample = [](const auto& request, const auto&) {
//       return denoise::testing::Script<denoise::Event>{
//           .events = denoise::testing::ChainOf(request, {1, 28, 28}, /*steps=*/20)};
//     };
//     denoise::Client client(server);
#ifndef DENOISE_TESTING_H_
#define DENOISE_TESTING_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/connection.h"

namespace denoise {
inline namespace client_v1 {
namespace testing {

// What a streaming call answers.
template <typename E>
struct Script {
  std::vector<E> events;
  // With which it ends after them. A real server's call ends well only after its last event.
  absl::Status status = absl::OkStatus();
  // After the events, wait to be cancelled: for the tests of cancels and timeouts. A CallOptions'
  // timeout does nothing by itself here; say DEADLINE_EXCEEDED in `status`.
  bool hold = false;
};

// Answers what it is told to. What is not set answers UNIMPLEMENTED. Set everything before calls
// are made; the functions are called on the threads that call, by several at once.
//
// Thread-safe. Callbacks of asynchronous calls come on threads of its own, one a call, that its
// destructor joins: cancel calls that hold, and answer every `next` of on_event_paced, before.
class FakeConnection : public Connection {
 public:
  template <typename Request, typename E>
  using Answer = std::function<Script<E>(const Request&, const CallOptions&)>;

  FakeConnection();
  ~FakeConnection() override;

  Answer<SampleRequest, Event> on_sample;
  Answer<DiffuseRequest, DiffuseEvent> on_diffuse;
  Answer<EvaluateRequest, EvaluateEvent> on_evaluate;
  // ListModels gives them all; GetModel the one of that name and version (0: the last), or if no
  // name is given the only one, or NOT_FOUND.
  std::vector<Model> models;
  // Of the server, and of `models`; NOT_FOUND for others.
  bool healthy = true;

  // Streaming calls that were cancelled before they had ended, so far.
  int cancelled() const;

  SampleStream Sample(const SampleRequest& request, const CallOptions& options) override;
  AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                        const CallOptions& options) override;
  DiffuseStream Diffuse(const DiffuseRequest& request, const CallOptions& options) override;
  EvaluateStream Evaluate(const EvaluateRequest& request, const CallOptions& options) override;
  AsyncCall EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                          const CallOptions& options) override;
  absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options) override;
  absl::StatusOr<Model> GetModel(const std::string& model, int64_t version,
                                 const CallOptions& options) override;
  absl::StatusOr<bool> Healthy(const std::string& model, const CallOptions& options) override;

 private:
  struct Calls;
  const std::shared_ptr<Calls> calls_;
};

// What a server could answer to `request` for a model of samples [C, H, W] whose default is
// `steps`: Accepted with the request's seed (0 if it has none) and version (1), the states that it
// asks for, and the Result, all with zeros for numbers. PNGs are the bytes of a PNG file's
// signature alone.
std::vector<Event> ChainOf(const SampleRequest& request, const std::array<int64_t, 3>& sample_shape,
                           uint32_t steps);

}  // namespace testing
}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_TESTING_H_
