#include "server/rpc/inference/infer_call.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "server/engine/shutting_down.h"
#include "server/media/png.h"
#include "server/rpc/admission.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/inference/api_fields.h"
#include "server/rpc/inference/denoiser_request.h"
#include "server/rpc/inference/parameters.h"
#include "server/rpc/inference/sample_request.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

constexpr char kParameters[] = "parameters";
constexpr char kTimeout[] = "timeout";  // microseconds
constexpr char kEveryNSteps[] = "every_n_steps";
// Asks for a last response of its own where a model ends without one; here there always is one.
constexpr char kEmptyFinal[] = "triton_enable_empty_final_response";
constexpr char kFinal[] = "triton_final_response";

constexpr uint64_t kYearMicroseconds = uint64_t{365} * 24 * 3600 * 1'000'000;

std::vector<int64_t> Batched(uint32_t n, const SampleShape& shape) {
  return {n, shape.channels, shape.height, shape.width};
}

}  // namespace

InferCall::InferCall(const InferContext* context, bool streamed)
    : context_(*context), backend_(*context->backend), streamed_(streamed) {
  record_.method = streamed ? "ModelStreamInfer" : "ModelInfer";
  record_.arrival = backend_.clock->Now();
}

InferCall::~InferCall() {
  const SteadyTime now = backend_.clock->Now();
  const absl::Status status = ended_.has_value() ? *ended_ : WhyCancelled();
  if (request_ != nullptr) {
    backend_.metrics->StatesDropped(request_->stream->states_dropped());
    record_.rows = request_->stream->denoiser_rows();
    record_.queue_seconds = request_->stream->queue_seconds();
  }
  RecordCall(record_, status, now, backend_.metrics);
  if (model_.has_value()) {
    times_.total_seconds = SecondsBetween(record_.arrival, now);
    if (status.ok()) {
      context_.statistics->Succeeded(*model_, record_.num_samples, times_, absl::Now());
    } else {
      context_.statistics->Failed(*model_, times_.total_seconds);
    }
  }
  if (started_) context_.in_flight->fetch_sub(1, std::memory_order_relaxed);
}

absl::Status InferCall::CheckCaller(const grpc::CallbackServerContext& call) {
  return backend_.reception->CheckCaller(call, &record_);
}

void InferCall::Start(const grpc::CallbackServerContext& call,
                      const inference::ModelInferRequest& message, std::function<void()> on_ready) {
  started_ = true;
  context_.in_flight->fetch_add(1, std::memory_order_relaxed);
  record_.arrival = backend_.clock->Now();
  model_name_ = message.model_name();
  id_ = message.id();
  absl::Status status = TryStart(call, message, on_ready);
  if (status.ok()) return;  // and somebody else may be answering by now
  Refuse(std::move(status), on_ready);
}

void InferCall::Refuse(absl::Status why, const std::function<void()>& on_ready) {
  refused_ = std::move(why);
  if (!absl::IsCancelled(refused_)) RecordRejection(refused_, backend_.metrics);
  on_ready();
}

absl::Status InferCall::TryStart(const grpc::CallbackServerContext& call,
                                 const inference::ModelInferRequest& message,
                                 std::function<void()> on_ready) {
  if (context_.draining->load(std::memory_order_relaxed)) {
    return WithReason(ShuttingDownError(), kDraining);
  }
  absl::StatusOr<InferModel> model =
      FindServingInferModel(*backend_.catalog, message.model_name(), message.model_version());
  if (!model.ok()) return model.status();
  model_ = *std::move(model);
  record_.model = model_->info->name;

  memory_ = context_.shared_memory->Of(record_.caller.tenant);
  absl::StatusOr<Request> read = Read(message);
  if (!read.ok()) return InTermsOfInputs(read.status(), *model_);
  const auto request = std::make_shared<Request>(*std::move(read));
  request->id = record_.id;
  request->arrival = record_.arrival;
  request->deadline = DeadlineOf(call, record_.arrival);
  const absl::StatusOr<std::optional<uint64_t>> timeout =
      WholeNumber(message.parameters(), kTimeout, kParameters);
  if (!timeout.ok()) return timeout.status();
  if (timeout->has_value()) {
    const SteadyTime end =
        record_.arrival + std::chrono::microseconds(std::min(**timeout, kYearMicroseconds));
    request->deadline = std::min(request->deadline.value_or(end), end);
  }
  if (absl::Status status = Grant(record_.caller, request.get()); !status.ok()) return status;
  record_.num_samples = request->num_samples;
  record_.steps = request->table->total_steps;

  times_.input_seconds = SecondsBetween(record_.arrival, backend_.clock->Now());
  request_ = request;  // before it may have something to say
  const auto place = Admit(backend_, request, Reading::kLosesStates, std::move(on_ready));
  if (!place.ok()) request_ = nullptr;
  return place.status();
}

absl::StatusOr<Request> InferCall::Read(const inference::ModelInferRequest& message) {
  const bool sampling = model_->kind == InferKind::kSampling;
  absl::Status status =
      sampling
          ? CheckKnown(message.parameters(), {kTimeout, kEmptyFinal, kEveryNSteps}, kParameters)
          : CheckKnown(message.parameters(), {kTimeout, kEmptyFinal}, kParameters);
  if (!status.ok()) return status;
  absl::StatusOr<InferOutputs> outputs = InferOutputs::Read(message, OutputsOf(*model_), memory_);
  if (!outputs.ok()) return outputs.status();
  outputs_ = *std::move(outputs);
  absl::StatusOr<std::vector<InferTensor>> inputs =
      ReadInputs(message, InputsOf(*model_), memory_, backend_.limits.max_message_bytes);
  if (!inputs.ok()) return inputs.status();
  if (sampling) return ReadSample(message, *std::move(inputs));

  absl::StatusOr<Request> request =
      MakeDenoiserRequest(*model_, *std::move(inputs), backend_.limits);
  if (!request.ok()) return request.status();
  outputs_.UseIfNoneNamed({"out"});
  status = CheckRoom(outputs_.all()[0],
                     request->num_samples * request->values_per_result() * sizeof(float));
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<Request> InferCall::ReadSample(const inference::ModelInferRequest& message,
                                              std::vector<InferTensor> inputs) {
  const absl::StatusOr<std::optional<uint64_t>> every_n_steps =
      WholeNumber(message.parameters(), kEveryNSteps, kParameters);
  if (!every_n_steps.ok()) return every_n_steps.status();
  const absl::StatusOr<v1::SampleRequest> sample =
      MakeSampleRequest(*model_, std::move(inputs), *every_n_steps, streamed_, &outputs_);
  if (!sample.ok()) return sample.status();
  absl::StatusOr<Validated> validated = context_.validator->Validate(*sample, model_->info);
  if (!validated.ok()) return validated.status();
  absl::Status status = CheckSampleOutputs(validated->request, outputs_, backend_.limits);
  if (!status.ok()) return status;
  return std::move(validated->request);
}

std::optional<InferCall::Answer> InferCall::Take(inference::ModelInferResponse* response) {
  std::optional<StreamEvent> event;
  if (refused_.ok()) {
    event = request_->stream->Take();
  } else {
    event = refused_;
  }
  if (!event.has_value()) return std::nullopt;
  response->set_model_name(model_name_);
  response->set_id(id_);
  if (const auto* status = std::get_if<absl::Status>(&*event)) return Answer{*status, true};

  response->set_model_version(absl::StrCat(model_->info->version));
  const SteadyTime begin = backend_.clock->Now();
  const auto* result = std::get_if<ResultEvent>(&*event);
  absl::Status status = result != nullptr ? EncodeResult(*result, response)
                                          : EncodeState(std::get<StateEvent>(*event), response);
  if (!status.ok()) {
    Cancel(status);
    return Answer{std::move(status), true};
  }
  if (result != nullptr) {
    times_.queue_seconds = result->queue_seconds;
    times_.infer_seconds = result->sampling_seconds;
  }
  times_.output_seconds += SecondsBetween(begin, backend_.clock->Now());
  if (streamed_) (*response->mutable_parameters())[kFinal].set_bool_param(result != nullptr);
  return Answer{absl::OkStatus(), result != nullptr};
}

absl::Status InferCall::EncodeResult(const ResultEvent& result,
                                     inference::ModelInferResponse* response) {
  const ModelInfo& info = *model_->info;
  const bool sampling = model_->kind == InferKind::kSampling;
  if (sampling) {
    (*response->mutable_parameters())["seed"].set_uint64_param(request_->seed);
    (*response->mutable_parameters())["states_dropped"].set_uint64_param(result.states_dropped);
  }
  const SampleShape shape = sampling ? request_->result_format().shape : info.answer_shape();
  for (const InferOutput& output : outputs_.all()) {
    absl::Status status;
    if (output.name == "sample" || output.name == "out") {
      status = AddOutput(output, InferType::kFp32, Batched(request_->num_samples, shape),
                         BytesOfFloats(result.samples), memory_, response);
    } else if (output.name == "png") {
      status = EncodePngs(result, output, response);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status InferCall::EncodePngs(const ResultEvent& result, const InferOutput& output,
                                   inference::ModelInferResponse* response) {
  const SampleFormat format = request_->result_format();
  const SampleShape& shape = format.shape;
  const auto samples = absl::MakeConstSpan(result.samples);
  std::vector<std::string> pngs;
  for (uint32_t i = 0; i < request_->num_samples; ++i) {
    absl::StatusOr<std::string> png =
        EncodePng(samples.subspan(i * shape.values(), shape.values()), shape.channels, shape.height,
                  shape.width, format.value_min, format.value_max);
    if (!png.ok()) return png.status();
    pngs.push_back(*std::move(png));
  }
  return AddOutput(output, InferType::kBytes, {request_->num_samples}, BytesOfStrings(pngs),
                   memory_, response);
}

// The content that the event has, and what says which state it is of.
absl::Status InferCall::EncodeState(const StateEvent& state,
                                    inference::ModelInferResponse* response) {
  backend_.metrics->StatesSent(1);
  if (!std::exchange(state_sent_, true)) {
    backend_.metrics->FirstStateSeconds(SecondsBetween(record_.arrival, backend_.clock->Now()));
  }
  const char* const content = state.content == Content::kXt            ? "x_t"
                              : state.content == Content::kPredictedX0 ? "predicted_x_0"
                                                                       : "";
  for (const InferOutput& output : outputs_.all()) {
    absl::Status status;
    if (output.name == content) {
      status = AddOutput(output, InferType::kFp32, Batched(1, request_->state_format().shape),
                         BytesOfFloats(state.values), memory_, response);
    } else if (output.name == "sample_index") {
      status = AddOutput(output, InferType::kUint32, {1}, BytesOfUint32(state.sample_index),
                         memory_, response);
    } else if (output.name == "step") {
      status =
          AddOutput(output, InferType::kUint32, {1}, BytesOfUint32(state.step), memory_, response);
    } else if (output.name == "timestep") {
      status = AddOutput(output, InferType::kFp32, {1},
                         BytesOfFloats({static_cast<float>(state.timestep)}), memory_, response);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void InferCall::Cancel(const absl::Status& status) {
  if (request_ == nullptr) return;
  backend_.queue->Remove(*request_);
  request_->stream->Cancel(status);
}

absl::Status InferCall::WhyCancelled() const {
  return CancelledStatus(request_ != nullptr ? request_->deadline : std::nullopt,
                         backend_.clock->Now());
}

}  // namespace denoise
