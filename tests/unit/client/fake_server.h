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

#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace denoise {

// What a streaming call answers.
struct Script {
  std::vector<std::string> messages;  // serialised events, or bytes that are none
  grpc::Status status;
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
std::vector<std::string> Serialise(const std::vector<M>& messages) {
  std::vector<std::string> bytes;
  for (const auto& message : messages) bytes.push_back(message.SerializeAsString());
  return bytes;
}

class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string address() const;
  grpc::Server& grpc() { return *server_; }

  // Set before calls are made.
  std::function<Script(const v1::SampleRequest&)> on_sample;
  std::function<Script(const v1::DiffuseRequest&)> on_diffuse;
  std::function<Script(const v1::EvaluateRequest&)> on_evaluate;
  std::function<grpc::Status(v1::ListModelsResponse*)> on_list_models;
  std::function<grpc::Status(const v1::GetModelRequest&, v1::Model*)> on_get_model;
  std::function<grpc::Status(const v1::LoadModelRequest&, v1::Model*)> on_load_model;
  std::function<grpc::Status(const v1::UnloadModelRequest&)> on_unload_model;
  std::function<grpc::Status(const v1::ReloadModelRequest&, v1::Model*)> on_reload_model;

  // Ready when a streaming call has been seen to be cancelled.
  std::shared_future<void> cancelled() const { return cancelled_future_; }
  // Messages of streaming calls that were given to the transport.
  int written() const { return written_; }
  // Metadata of the last streaming call.
  std::multimap<std::string, std::string> metadata() const { return metadata_; }

 private:
  class Reactor;
  class Service;
  class AdminService;

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Answer(grpc::CallbackServerContext* context,
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
  std::multimap<std::string, std::string> metadata_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
