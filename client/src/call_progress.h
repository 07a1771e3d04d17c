// How far a call that may be retried has come: what its caller has seen, and what a further
// attempt asks for.
#ifndef DENOISE_CLIENT_SRC_CALL_PROGRESS_H_
#define DENOISE_CLIENT_SRC_CALL_PROGRESS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Each of these is not thread-safe, and has
//   request(): what the next attempt asks for, with the model, version and seed of the first
//     Accepted;
//   IsNew(event): whether the caller is to see it. ABORTED: this attempt is of another chain.

class SampleProgress {
 public:
  explicit SampleProgress(SampleRequest request) : request_(std::move(request)) {}
  const SampleRequest& request() const { return request_; }
  absl::StatusOr<bool> IsNew(const Event& event);

 private:
  SampleRequest request_;
  std::optional<Accepted> accepted_;
  // Last step by sample and content. Steps left out because the reader was slow stay left out, so
  // that steps ascend.
  std::map<std::pair<uint32_t, Content>, uint32_t> steps_;
};

class DiffuseProgress {
 public:
  explicit DiffuseProgress(DiffuseRequest request) : request_(std::move(request)) {}
  const DiffuseRequest& request() const { return request_; }
  absl::StatusOr<bool> IsNew(const DiffuseEvent& event);

 private:
  DiffuseRequest request_;
  std::optional<Accepted> accepted_;
  std::set<std::pair<uint32_t, uint32_t>> seen_;  // sample and step
};

class EvaluateProgress {
 public:
  explicit EvaluateProgress(EvaluateRequest request) : request_(std::move(request)) {}
  const EvaluateRequest& request() const { return request_; }
  absl::StatusOr<bool> IsNew(const EvaluateEvent& event);

 private:
  EvaluateRequest request_;
  std::optional<Accepted> accepted_;
  std::set<uint32_t> seen_;  // timesteps of terms
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_CALL_PROGRESS_H_
