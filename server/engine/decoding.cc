#include "server/engine/decoding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace denoise {

void Decoding::Add(const Chain& chain, const Row* row, RowBatch::Outcome* outcome) {
  const Request& request = *chain.request;
  const bool of_state = outcome->publish && request.states.decode;
  const bool of_result = outcome->last && request.decode;
  if (!of_state && !of_result) return;
  if (!outcome->status.ok() || !outcome->finite || request.stream->ended()) return;

  const size_t values = request.model->decoder->format.shape.values();
  // The last state always arrives.
  const auto is_read = [&](Content content) {
    return outcome->last || !request.stream->Decline(chain.index, content, values * sizeof(float));
  };
  bool wants_x = of_result;
  bool wants_x0 = false;
  for (const Content content : request.states.content) {
    if (!of_state) break;
    if (content == Content::kXt) wants_x = is_read(content) || wants_x;
    if (content == Content::kPredictedX0 && row != nullptr && row->denoise) {
      wants_x0 = is_read(content);
    }
  }
  if (wants_x) Want(outcome->x, values, &outcome->decoded_x, outcome);
  if (wants_x0) Want(outcome->x0, values, &outcome->decoded_x0, outcome);
}

void Decoding::Want(const std::vector<float>& latents, size_t values, std::vector<float>* decoded,
                    RowBatch::Outcome* outcome) {
  decoded->resize(values);
  tasks_.push_back({.latents = latents.data(), .out = decoded->data()});
  outcomes_.push_back(outcome);
}

void Decoding::Run(Executor& executor) {
  if (finite_size_ < tasks_.size()) {
    finite_size_ = tasks_.size();
    finite_ = std::make_unique<bool[]>(finite_size_);
  }
  const auto most = static_cast<size_t>(executor.model().decoder->max_rows);
  for (size_t first = 0; first < tasks_.size();) {
    // Powers of two, so that few sizes of calls occur, for which LibTorch keeps what it has learnt.
    size_t count = most;
    while (count > tasks_.size() - first) count /= 2;
    RunPart(executor, first, count);
    first += count;
  }
  tasks_.clear();
  outcomes_.clear();
}

void Decoding::RunPart(Executor& executor, size_t first, size_t count) {
  const absl::Span<bool> finite(finite_.get() + first, count);
  const absl::Status status =
      executor.Decode(absl::MakeConstSpan(tasks_).subspan(first, count), finite);
  if (!status.ok() && count > 1) {
    const size_t part = absl::IsResourceExhausted(status) ? count / 2 : 1;
    for (size_t i = 0; i < count; i += part) RunPart(executor, first + i, part);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    absl::Status& of_outcome = outcomes_[first + i]->decoder_status;
    if (!status.ok()) {
      of_outcome = absl::Status(status.code(), absl::StrCat("the decoder: ", status.message()));
    } else if (!finite[i]) {
      of_outcome = absl::InternalError("the decoder's answer is not finite");
    }
  }
}

}  // namespace denoise
