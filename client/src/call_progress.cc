#include "client/src/call_progress.h"

namespace denoise {
inline namespace client_v1 {
namespace {

bool IsSameChain(const Accepted& a, const Accepted& b) {
  return a.model == b.model && a.model_version == b.model_version && a.seed == b.seed &&
         a.total_steps == b.total_steps && a.timesteps == b.timesteps &&
         a.alpha_bars == b.alpha_bars;
}

// The first one settles what is asked for from now on.
template <typename Request>
absl::StatusOr<bool> Accept(const Accepted& accepted, Request* request,
                            std::optional<Accepted>* first) {
  if (first->has_value()) {
    if (IsSameChain(**first, accepted)) return false;
    return absl::AbortedError(
        "the call broke off and was retried, but the model or its steps have changed since: "
        "start a new call");
  }
  *first = accepted;
  request->model = accepted.model;
  request->model_version = accepted.model_version;
  request->seed = accepted.seed;
  return true;
}

}  // namespace

absl::StatusOr<bool> SampleProgress::IsNew(const Event& event) {
  if (const auto* accepted = std::get_if<Accepted>(&event)) {
    return Accept(*accepted, &request_, &accepted_);
  }
  if (const auto* state = std::get_if<State>(&event)) {
    const auto [last, is_first] =
        steps_.try_emplace({state->sample_index, state->content}, state->step);
    if (!is_first && state->step <= last->second) return false;
    last->second = state->step;
  }
  return true;
}

absl::StatusOr<bool> DiffuseProgress::IsNew(const DiffuseEvent& event) {
  if (const auto* accepted = std::get_if<Accepted>(&event)) {
    return Accept(*accepted, &request_, &accepted_);
  }
  const auto& state = std::get<State>(event);
  return seen_.insert({state.sample_index, state.step}).second;
}

absl::StatusOr<bool> EvaluateProgress::IsNew(const EvaluateEvent& event) {
  if (const auto* accepted = std::get_if<Accepted>(&event)) {
    return Accept(*accepted, &request_, &accepted_);
  }
  if (const auto* term = std::get_if<Term>(&event)) return seen_.insert(term->timestep).second;
  return true;
}

}  // namespace client_v1
}  // namespace denoise
