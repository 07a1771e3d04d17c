#include "tests/unit/client/fake_server.h"

#include <algorithm>
#include <utility>

namespace denoise {
namespace {

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string bytes;
  for (const auto& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace

v1::Tensor MakeTensor(const std::vector<int64_t>& shape, float first) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  int64_t count = 1;
  for (const int64_t extent : shape) {
    tensor.add_shape(extent);
    count *= extent;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    tensor.mutable_data()->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return tensor;
}

v1::Accepted MakeAccepted(uint32_t steps) {
  v1::Accepted accepted;
  accepted.set_request_id("r-1");
  accepted.set_model("digits");
  accepted.set_model_version(1);
  accepted.set_seed(42);
  accepted.set_total_steps(steps);
  for (uint32_t k = 0; k < steps; ++k) accepted.add_timesteps(static_cast<float>(steps - 1 - k));
  for (uint32_t k = 0; k <= steps; ++k) accepted.add_alpha_bars(0.1f);
  accepted.mutable_estimated_wait()->set_nanos(500'000'000);
  return accepted;
}

std::vector<v1::SampleEvent> Chain(uint32_t samples, uint32_t steps) {
  std::vector<v1::SampleEvent> events(1);
  *events[0].mutable_accepted() = MakeAccepted(steps);
  for (uint32_t step = 0; step <= steps; ++step) {
    for (uint32_t i = 0; i < samples; ++i) {
      auto* state = events.emplace_back().mutable_state();
      state->set_sample_index(i);
      state->set_step(step);
      state->set_total_steps(steps);
      state->set_timestep(static_cast<float>(steps) - 1 - static_cast<float>(step));
      state->set_alpha_bar(0.5f);
      state->set_content(v1::CONTENT_X_T);
      *state->mutable_tensor() = MakeTensor({1, 1, 2, 2}, static_cast<float>(step));
    }
  }
  auto* result = events.emplace_back().mutable_result();
  *result->mutable_samples() = MakeTensor({samples, 1, 2, 2}, 0);
  result->mutable_timing()->mutable_total()->set_seconds(3);
  result->set_states_dropped(2);
  result->set_denoiser_rows(uint64_t{samples} * steps);
  return events;
}

std::vector<v1::EvaluateEvent> Terms(uint32_t samples, const std::vector<uint32_t>& timesteps) {
  std::vector<v1::EvaluateEvent> events(1);
  auto* accepted = events[0].mutable_accepted();
  *accepted = MakeAccepted(0);
  accepted->clear_alpha_bars();
  for (const uint32_t t : timesteps) {
    accepted->add_timesteps(static_cast<float>(t));
    accepted->add_alpha_bars(0.5f);
    auto* term = events.emplace_back().mutable_term();
    term->set_timestep(t);
    for (uint32_t i = 0; i < samples; ++i) {
      term->add_bits_per_dim(0.25 + t);
      term->add_eps_mse(0.5 + i);
      term->add_x_0_mse(0.125);
    }
  }
  auto* likelihood = events.emplace_back().mutable_likelihood();
  for (uint32_t i = 0; i < samples; ++i) {
    likelihood->add_total_bits_per_dim(1.5 + i);
    likelihood->add_prior_bits_per_dim(0.0625);
    likelihood->add_standard_error(0.03);
  }
  return events;
}

v1::Model MakeModel(const std::string& name) {
  v1::Model model;
  model.set_name(name);
  model.set_version(1);
  model.set_status(v1::Model::STATUS_SERVING);
  for (const int64_t extent : {1, 2, 2}) model.add_sample_shape(extent);
  model.set_value_min(-1);
  model.set_value_max(1);
  model.set_num_train_timesteps(3);
  for (int t = 0; t < 3; ++t) model.add_alpha_bars(0.5f);
  return model;
}

// Writes its script, one message after the other.
class FakeServer::Reactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  Reactor(FakeServer* server, Script script) : server_(server), script_(std::move(script)) {
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return FinishOnce(grpc::Status::CANCELLED);
    ++server_->written_;
    Next();
  }
  void OnCancel() override {
    server_->Cancelled();
    FinishOnce(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (next_ == script_.messages.size()) {
      if (!script_.hold) FinishOnce(script_.status);
      return;
    }
    grpc::Slice slice(script_.messages[next_++]);
    buffer_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&buffer_);
  }
  void FinishOnce(const grpc::Status& status) {
    if (!finished_.exchange(true)) Finish(status);
  }

  FakeServer* const server_;
  const Script script_;
  size_t next_ = 0;
  grpc::ByteBuffer buffer_;
  std::atomic<bool> finished_{false};
};

class FakeServer::Service final
    : public v1::Diffusion::WithRawCallbackMethod_Sample<
          v1::Diffusion::WithRawCallbackMethod_Diffuse<
              v1::Diffusion::WithRawCallbackMethod_Evaluate<v1::Diffusion::Service>>> {
 public:
  explicit Service(FakeServer* server) : server_(server) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Sample(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes) override {
    v1::SampleRequest request;
    request.ParseFromString(Bytes(*bytes));
    server_->sample_request_ = request;
    return server_->Play(context, server_->on_sample(request));
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Diffuse(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes) override {
    v1::DiffuseRequest request;
    request.ParseFromString(Bytes(*bytes));
    return server_->Play(context, server_->on_diffuse(request));
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Evaluate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override {
    v1::EvaluateRequest request;
    request.ParseFromString(Bytes(*bytes));
    server_->evaluate_request_ = request;
    return server_->Play(context, server_->on_evaluate(request));
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    return server_->on_list_models(response);
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* response) override {
    return server_->on_get_model(*request, response);
  }

 private:
  FakeServer* const server_;
};

class FakeServer::AdminService final : public v1::ModelAdmin::Service {
 public:
  explicit AdminService(FakeServer* server) : server_(server) {}

  grpc::Status LoadModel(grpc::ServerContext*, const v1::LoadModelRequest* request,
                         v1::Model* response) override {
    return server_->on_load_model(*request, response);
  }
  grpc::Status UnloadModel(grpc::ServerContext*, const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse*) override {
    return server_->on_unload_model(*request);
  }
  grpc::Status ReloadModel(grpc::ServerContext*, const v1::ReloadModelRequest* request,
                           v1::Model* response) override {
    return server_->on_reload_model(*request, response);
  }

 private:
  FakeServer* const server_;
};

FakeServer::FakeServer()
    : on_sample([](const v1::SampleRequest& request) {
        const uint32_t steps = request.sampler().steps();
        return Answer(Chain(std::max(1u, request.num_samples()), steps == 0 ? 2 : steps));
      }),
      on_evaluate([](const v1::EvaluateRequest&) {
        return Answer(Terms(2, {9, 4, 0}));
      }),
      service_(std::make_unique<Service>(this)),
      admin_(std::make_unique<AdminService>(this)),
      cancelled_future_(cancelled_.get_future()) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  builder.RegisterService(admin_.get());
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

void FakeServer::HoldAfter(size_t events) {
  const auto cut = [events](Script script) {
    script.messages.resize(events);
    script.hold = true;
    return script;
  };
  on_sample = [=, whole = on_sample](const auto& request) { return cut(whole(request)); };
  on_evaluate = [=, whole = on_evaluate](const auto& request) { return cut(whole(request)); };
}

std::string AddressOfNobody() { return FakeServer().address(); }

std::string FakeServer::address() const { return "127.0.0.1:" + std::to_string(port_); }

grpc::ServerWriteReactor<grpc::ByteBuffer>* FakeServer::Play(grpc::CallbackServerContext* context,
                                                             Script script) {
  metadata_.clear();
  for (const auto& [name, value] : context->client_metadata()) {
    metadata_.emplace(std::string(name.data(), name.size()),
                      std::string(value.data(), value.size()));
  }
  return new Reactor(this, std::move(script));
}

void FakeServer::Cancelled() {
  if (!was_cancelled_.exchange(true)) cancelled_.set_value();
}

}  // namespace denoise
