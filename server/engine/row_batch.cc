#include "server/engine/row_batch.h"

#include <algorithm>

#include "server/engine/batch_planner.h"

namespace denoise {

void RowBatch::Make(absl::Span<const size_t> picks, absl::Span<Chain> chains) {
  tasks_.clear();
  // Before the tasks are made, because they point into it.
  if (outcomes_.size() < picks.size()) outcomes_.resize(picks.size());
  if (finite_size_ < picks.size()) {
    finite_size_ = picks.size();
    finite_ = std::make_unique<bool[]>(finite_size_);
  }
  for (const size_t pick : picks) {
    Chain& chain = chains[pick];
    Outcome& outcome = outcomes_[tasks_.size()];
    outcome.chain = pick;
    outcome.status = absl::OkStatus();
    outcome.decoder_status = absl::OkStatus();
    outcome.decoded_x.clear();
    outcome.decoded_x0.clear();
    RowTask& task = tasks_.emplace_back(NextTask(chain));
    ++chain.row;
    chain.denoiser_rows_left -= task.denoiser_rows();
    chain.request->work->Done(task.denoiser_rows());
    outcome.last = chain.at_end();
    WantOutputs(chain, task, outcome);
  }
}

void RowBatch::WantOutputs(const Chain& chain, RowTask& task, Outcome& outcome) {
  outcome.publish = false;
  if (task.term != nullptr) {
    task.term_values = &outcome.term;
    return;
  }
  const Request& request = *chain.request;
  if (!request.only_row.empty()) {
    outcome.answer.resize(request.values_per_result());
    task.answer_out = outcome.answer.data();
    return;
  }
  const Row& row = *task.row;
  outcome.publish =
      row.completes_step && request.states.Wants(row.step, request.table->total_steps);
  const auto wants = [&](Content content) {
    const auto& all = request.states.content;
    return outcome.publish && std::find(all.begin(), all.end(), content) != all.end();
  };
  const size_t values = request.model->shape.values();
  if (outcome.last || wants(Content::kXt)) {
    outcome.x.resize(values);
    task.x_out = outcome.x.data();
  }
  if (wants(Content::kPredictedX0) && row.denoise) {
    outcome.x0.resize(values);
    task.x0_out = outcome.x0.data();
  }
}

void RowBatch::Run(Executor& executor) {
  denoiser_seconds_ = 0;
  RunPart(executor, 0, tasks_.size());
  for (size_t i = 0; i < tasks_.size(); ++i) outcomes_[i].finite = finite_[i];
}

void RowBatch::RunPart(Executor& executor, size_t first, size_t count) {
  const absl::Span<const RowTask> tasks = absl::MakeConstSpan(tasks_).subspan(first, count);
  int64_t rows = 0;
  for (const RowTask& task : tasks) rows += task.denoiser_rows();
  const absl::Status status =
      executor.Execute(tasks, PaddedRows(rows, executor.model().batch_sizes),
                       absl::MakeSpan(finite_.get() + first, count));
  denoiser_seconds_ += executor.denoiser_seconds();
  if (status.ok()) return;
  if (count == 1) {
    outcomes_[first].status = status;
    return;
  }
  // Nothing has changed, so everything can be tried again in smaller parts: one by one, so that
  // only the failing row fails; where memory ran out in halves, so that batches stay large.
  const size_t part = absl::IsResourceExhausted(status) ? (count + 1) / 2 : 1;
  for (size_t i = 0; i < count; i += part) {
    RunPart(executor, first + i, std::min(part, count - i));
  }
}

}  // namespace denoise
