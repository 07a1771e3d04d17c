// A mock of the server.
#ifndef DENOISE_TESTS_UNIT_CLIENT_MOCK_CONNECTION_H_
#define DENOISE_TESTS_UNIT_CLIENT_MOCK_CONNECTION_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "denoise/client.h"
#include "gmock/gmock.h"

namespace denoise {

class MockConnection : public Connection {
 public:
  MOCK_METHOD(SampleStream, Sample, (const SampleRequest&, const CallOptions&), (override));
  MOCK_METHOD(AsyncCall, SampleAsync, (const SampleRequest&, SampleCallbacks, const CallOptions&),
              (override));
  MOCK_METHOD(DiffuseStream, Diffuse, (const DiffuseRequest&, const CallOptions&), (override));
  MOCK_METHOD(EvaluateStream, Evaluate, (const EvaluateRequest&, const CallOptions&), (override));
  MOCK_METHOD(AsyncCall, EvaluateAsync,
              (const EvaluateRequest&, EvaluateCallbacks, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<std::vector<Model>>, ListModels, (const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<Model>, GetModel, (const std::string&, int64_t, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<bool>, Healthy, (const std::string&, const CallOptions&), (override));
};

// Gives the elements of a list.
template <typename E>
class ListedEvents : public EventSource<E> {
 public:
  explicit ListedEvents(std::vector<absl::StatusOr<E>> events) : events_(std::move(events)) {}
  std::optional<absl::StatusOr<E>> Next() override {
    if (next_ == events_.size()) return std::nullopt;
    return events_[next_++];
  }
  void Cancel() override {}

 private:
  std::vector<absl::StatusOr<E>> events_;
  size_t next_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_CLIENT_MOCK_CONNECTION_H_
