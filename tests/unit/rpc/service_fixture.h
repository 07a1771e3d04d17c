// The service over real sockets, with a hand in place of the engines: tests pull requests from the
// waiting queue and publish on their streams.
#ifndef DENOISE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
#define DENOISE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "server/rpc/diffusion_service.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/inference/inference_service.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {

// Takes what waits, when a test says so.
class FakeEngine {
 public:
  explicit FakeEngine(WaitingQueue* queue) : queue_(queue) {
    queue->OnWork(0, [this] { Wake(); });
  }

  void Wake() {
    MutexLock lock(mutex_);
    ++wakes_;
    condition_.SignalAll();
  }

  // Next() answers null from now on.
  void Stop() {
    MutexLock lock(mutex_);
    stopped_ = true;
    condition_.SignalAll();
  }

  // Waits for a request and takes all of its chains.
  std::shared_ptr<const Request> Next() {
    while (true) {
      uint64_t seen;
      {
        MutexLock lock(mutex_);
        seen = wakes_;
      }
      for (ChainRange& range : queue_->Pull(0, {.room = 1000}, SystemClock().Now())) {
        pulled_.push_back(std::move(range.request));
      }
      if (!pulled_.empty()) {
        auto request = std::move(pulled_.front());
        pulled_.pop_front();
        request->stream->Activate();
        return request;
      }
      MutexLock lock(mutex_);
      while (wakes_ == seen && !stopped_) condition_.Wait(mutex_);
      if (stopped_) return nullptr;
    }
  }

  // Waits until `condition` holds, of which every change wakes the engines.
  void WaitFor(const std::function<bool()>& condition) {
    MutexLock lock(mutex_);
    while (!condition()) condition_.Wait(mutex_);
  }

 private:
  WaitingQueue* const queue_;
  std::deque<std::shared_ptr<const Request>> pulled_;
  Mutex mutex_;
  CondVar condition_;
  uint64_t wakes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

inline void PublishState(const Request& request, uint32_t sample, uint32_t step, Content content,
                         float value) {
  StateEvent state;
  state.sample_index = sample;
  state.step = step;
  state.timestep = 100.0 - step;
  state.alpha_bar = 0.25;
  state.sigma = 0.75;
  state.content = content;
  if (content != Content::kProgress) state.values.assign(request.model->shape.values(), value);
  request.stream->Publish(std::move(state));
}

// Sample i comes to be all `value + i`.
inline void FinishAll(const Request& request, float value) {
  for (uint32_t i = 0; i < request.num_samples; ++i) {
    request.stream->Finish(i, std::vector<float>(request.model->shape.values(), value + i));
  }
}

class ServiceTest : public testing::Test {
 protected:
  struct Setup {
    ModelInfo model = TestModel();
    size_t max_waiting = 16;
    Authenticator::Options callers = {};
    uint64_t max_bytes = 0;  // of active chains
    uint64_t memory_budget = 0;
    Limits limits = {};
    std::chrono::nanoseconds write_timeout = std::chrono::seconds(60);
  };

  void StartServer() { StartServer(Setup()); }
  void StartServer(Setup setup) {
    model_ = Shared(std::move(setup.model));
    catalog_.Add(model_);
    queue_ = std::make_unique<WaitingQueue>(
        WaitingQueue::Options{.max_waiting = setup.max_waiting, .max_bytes = setup.max_bytes});
    engine_ = std::make_unique<FakeEngine>(queue_.get());
    writers_ = std::make_unique<WriterPool>(
        WriterPool::Options{.threads = 2, .write_timeout = setup.write_timeout});
    memory_ = std::make_unique<MemoryBudget>(setup.memory_budget);
    Reception::Options reception;
    authenticator_ = std::make_unique<Authenticator>(setup.callers);
    reception.authenticator = authenticator_.get();
    reception.max_message_bytes = setup.limits.max_message_bytes;
    reception.memory = memory_.get();
    reception.metrics = &metrics_;
    reception.clock = &clock_;
    reception_ = std::make_unique<Reception>(reception);
    Backend backend;
    backend.reception = reception_.get();
    backend.memory = memory_.get();
    backend.catalog = &catalog_;
    backend.queue = queue_.get();
    backend.writers = writers_.get();
    backend.metrics = &metrics_;
    backend.clock = &clock_;
    backend.limits = setup.limits;
    backend.wake_engines = [this] { engine_->Wake(); };
    backend.rows_ahead = [] { return uint64_t{40}; };
    inference_ = std::make_unique<InferenceService>(backend, /*max_regions=*/0);
    service_ = std::make_unique<DiffusionService>(std::move(backend));
    GrpcServer::Options options;
    options.address = "127.0.0.1:0";
    options.reception = reception_.get();
    options.max_message_bytes = setup.limits.max_message_bytes;
    auto server = GrpcServer::Start(options, {service_.get(), inference_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Diffusion::NewStub(NewChannel());
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  // A connection of its own, that reads no more than 64 KiB ahead of the caller.
  std::shared_ptr<grpc::Channel> NewChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 65536);
    return grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
  }

  // Waits until every call is over by itself, so that what they leave in the metrics can be read.
  void EndServer() {
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(30);
    server_->Shutdown(deadline);
    EXPECT_LT(std::chrono::system_clock::now(), deadline);
    EXPECT_EQ(service_->calls_in_flight(), 0);
    EXPECT_EQ(inference_->calls_in_flight(), 0);
  }

  std::string Count(const std::string& method, const std::string& code, int count,
                    const std::string& model = "digits") const {
    return absl::StrCat("denoise_requests_total{code=\"", code, "\",method=\"", method,
                        "\",model=\"", model, "\"} ", count);
  }

  SystemClock clock_;
  Metrics metrics_;
  Catalog catalog_;
  std::unique_ptr<MemoryBudget> memory_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Reception> reception_;
  std::shared_ptr<const ModelInfo> model_;
  std::unique_ptr<WaitingQueue> queue_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<WriterPool> writers_;
  std::unique_ptr<DiffusionService> service_;
  std::unique_ptr<InferenceService> inference_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::Diffusion::Stub> stub_;
};

// A streaming call that was made.
template <typename Event>
struct Call {
  // The next event; one without content at the end.
  Event Next() {
    Event event;
    if (!reader->Read(&event)) event.Clear();
    return event;
  }
  bool ReadAccepted() { return Next().has_accepted(); }
  // Reads what is left; the status.
  grpc::Status End() {
    Event event;
    while (reader->Read(&event)) rest.push_back(event);
    return reader->Finish();
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<Event>> reader;
  std::vector<Event> rest;
};

inline std::chrono::system_clock::time_point In(std::chrono::milliseconds timeout) {
  return std::chrono::system_clock::now() + timeout;
}

struct SampleCall : Call<v1::SampleEvent> {
  SampleCall() = default;  // for one with metadata: set context and reader
  SampleCall(v1::Diffusion::Stub* stub, const v1::SampleRequest& request) {
    reader = stub->Sample(&context, request);
  }
  SampleCall(v1::Diffusion::Stub* stub, const v1::SampleRequest& request,
             std::chrono::milliseconds timeout) {
    context.set_deadline(In(timeout));
    reader = stub->Sample(&context, request);
  }
};

struct EvaluateCall : Call<v1::EvaluateEvent> {
  EvaluateCall(v1::Diffusion::Stub* stub, const v1::EvaluateRequest& request) {
    reader = stub->Evaluate(&context, request);
  }
  EvaluateCall(v1::Diffusion::Stub* stub, const v1::EvaluateRequest& request,
               std::chrono::milliseconds timeout) {
    context.set_deadline(In(timeout));
    reader = stub->Evaluate(&context, request);
  }
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
