// A server of denoise.v1 that answers what a test tells it to, over a real socket.
#ifndef DENOISE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
#define DENOISE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "denoise/client.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/unit/client/done.h"

namespace denoise {

// What a streaming call answers.
struct Script {
  std::vector<std::string> messages;  // serialised events, or bytes that are none
  grpc::Status status = {};
  bool hold = false;  // after the messages, wait for the caller to cancel
};

// A chain of `steps` steps for `samples` samples of [1, 2, 2]: Accepted, every state, Result.
std::vector<v1::SampleEvent> Chain(uint32_t samples, uint32_t steps);
v1::Accepted MakeAccepted(uint32_t steps);
// An evaluation of `samples` samples at those timesteps, descending: Accepted, Terms, Likelihood.
std::vector<v1::EvaluateEvent> Terms(uint32_t samples, const std::vector<uint32_t>& timesteps);
v1::Tensor MakeTensor(const std::vector<int64_t>& shape, float first);
v1::Model MakeModel(const std::string& name);

template <typename M>
Script Answer(const std::vector<M>& events, const grpc::Status& status = {}) {
  Script script{.messages = {}, .status = status};
  for (const M& event : events) script.messages.push_back(event.SerializeAsString());
  return script;
}

class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string address() const;
  grpc::Server& grpc() { return *server_; }

  // Set before calls are made. Unless it is, Sample answers the chain that is asked for (of 2 steps
  // where none are), and Evaluate two samples' terms at 9, 4 and 0.
  std::function<Script(const v1::SampleRequest&)> on_sample;
  std::function<Script(const v1::DiffuseRequest&)> on_diffuse;
  std::function<Script(const v1::EvaluateRequest&)> on_evaluate;
  // Sends that many of those events, and then nothing until the caller cancels.
  void HoldAfter(size_t events);
  std::function<grpc::Status(v1::ListModelsResponse*)> on_list_models;
  std::function<grpc::Status(const v1::GetModelRequest&, v1::Model*)> on_get_model;
  std::function<grpc::Status(const v1::LoadModelRequest&, v1::Model*)> on_load_model;
  std::function<grpc::Status(const v1::UnloadModelRequest&)> on_unload_model;
  std::function<grpc::Status(const v1::ReloadModelRequest&, v1::Model*)> on_reload_model;

  // Ready when a streaming call has been seen to be cancelled.
  std::shared_future<void> cancelled() const { return cancelled_future_; }
  // Messages of streaming calls that were given to the transport.
  int written() const { return written_; }
  // Request and metadata of the last streaming call.
  const v1::SampleRequest& sample_request() const { return sample_request_; }
  const v1::EvaluateRequest& evaluate_request() const { return evaluate_request_; }
  std::multimap<std::string, std::string> metadata() const { return metadata_; }

 private:
  class Reactor;
  class Service;
  class AdminService;

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Play(grpc::CallbackServerContext* context,
                                                   Script script);
  void Cancelled();

  std::unique_ptr<Service> service_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::promise<void> cancelled_;
  std::shared_future<void> cancelled_future_;
  std::atomic<bool> was_cancelled_{false};
  std::atomic<int> written_{0};
  v1::SampleRequest sample_request_;
  v1::EvaluateRequest evaluate_request_;
  std::multimap<std::string, std::string> metadata_;
};

// Where no server is any more.
std::string AddressOfNobody();

// A client and its server, over a real socket.
class WireTest : public ::testing::Test {
 protected:
  WireTest() : client_(*Client::Connect(server_.address())) {}

  bool CancelReachesServer() {
    return server_.cancelled().wait_for(kPatience) == std::future_status::ready;
  }

  FakeServer server_;
  Client client_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
