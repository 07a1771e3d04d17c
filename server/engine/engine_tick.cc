// A tick: rank, plan, execute, decode, publish.
#include <algorithm>
#include <utility>

#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "server/engine/engine.h"
#include "server/engine/publish.h"

namespace denoise {

void Engine::RankChains(SteadyTime now) {
  ranks_.clear();
  for (size_t i = 0; i < chains_.size(); ++i) {
    const Chain& chain = chains_[i];
    // Those of an Evaluate have one rank, so that they stand together.
    const uint64_t rows_left =
        chain.request->evaluation != nullptr ? chain.denoiser_rows : chain.denoiser_rows_left;
    ranks_.emplace_back(options_.policy.RankOf(chain.standing, rows_left, now), i);
  }
  // Mostly they are in order already, as they came.
  if (!std::is_sorted(ranks_.begin(), ranks_.end())) std::sort(ranks_.begin(), ranks_.end());
}

// The chains that could run now, in order of rank.
void Engine::GatherCandidates() {
  candidates_.clear();
  for (const auto& [rank, i] : ranks_) {
    const Chain& chain = chains_[i];
    if (!chain.request->stream->HasRoom()) continue;
    const Request& request = *chain.request;
    Candidate& candidate = candidates_.emplace_back();
    candidate.chain = i;
    candidate.key = chain.key;
    candidate.model = chain.model;
    candidate.priority = rank.priority;
    candidate.denoiser_rows = request.DenoiserRows(chain.next_row());
    candidate.values = request.model->shape.values();
    candidate.evaluation = request.evaluation.get();
    candidate.next_row = chain.row;
    if (candidate.evaluation != nullptr) {
      candidate.rows_left = request.table->rows.size() - chain.row;
    }
  }
}

bool Engine::Tick() {
  const SteadyTime begin = clock_->Now();
  RankChains(begin);
  GatherCandidates();
  const Batch& batch = planner_.Plan(candidates_, batch_sizes_, batch_seconds_);
  if (batch.key < 0) return false;

  row_batch_.Make(batch.chains, absl::MakeSpan(chains_));
  row_batch_.Run(*models_[batch.model].executor);
  ObserveBatch(batch);  // before its results are told, so that whoever has one finds it counted
  for (size_t i = 0; i < row_batch_.size(); ++i) {
    RowBatch::Outcome& outcome = row_batch_.outcome(i);
    decoding_.Add(chains_[outcome.chain], row_batch_.task(i).row, &outcome);
  }
  const double decoder_seconds = Decode(batch.model);
  for (size_t i = 0; i < row_batch_.size(); ++i) {
    Advance(row_batch_.task(i), row_batch_.outcome(i));
  }
  RetireEnded();
  const double seconds = SecondsBetween(begin, clock_->Now());
  gauges_.tick_seconds->Observe(seconds);
  gauges_.engine_overhead_seconds->Observe(
      std::max(0.0, seconds - row_batch_.denoiser_seconds() - decoder_seconds));
  return true;
}

void Engine::ObserveBatch(const Batch& batch) {
  if (batch.rows == 0) return;
  gauges_.denoiser_seconds->Observe(row_batch_.denoiser_seconds());
  gauges_.batch_rows->Observe(static_cast<double>(batch.rows));
  gauges_.padding_rows_total->Increment(static_cast<double>(batch.padded_rows - batch.rows));
  const ModelMetrics& of_model = models_[batch.model].metrics;
  of_model.batches_total->Increment();
  of_model.rows_total->Increment(static_cast<double>(batch.rows));
}

double Engine::Decode(int model) {
  if (decoding_.empty()) return 0;
  const SteadyTime begin = clock_->Now();
  decoding_.Run(*models_[model].executor);
  const double seconds = SecondsBetween(begin, clock_->Now());
  gauges_.decoder_seconds->Observe(seconds);
  return seconds;
}

// Of an Evaluate there is none, and in the buffers may be another's.
absl::Span<const float> Engine::ResultOf(const Chain& chain, const RowTask& task,
                                         const RowBatch::Outcome& outcome) {
  if (task.answer_out != nullptr) return outcome.answer;
  if (task.x_out == nullptr) return {};
  return chain.request->decode ? outcome.decoded_x : outcome.x;
}

void Engine::Advance(const RowTask& task, RowBatch::Outcome& outcome) {
  Chain& chain = chains_[outcome.chain];
  EventStream& stream = *chain.request->stream;
  if (chain.failed) return;
  if (const auto failure = FailureOf(chain, task.row, outcome)) {
    Fail(chain, *failure);
    return;
  }
  if (task.term != nullptr) {
    Evaluation& evaluation = *chain.request->evaluation;
    if (auto event = evaluation.Add(chain.index, task.term_index, outcome.term)) {
      stream.Publish(*std::move(event));
    }
  } else if (outcome.publish) {
    std::vector<float>& x = chain.request->decode ? outcome.decoded_x : outcome.x;
    std::vector<float> result;  // copied before it is given away with the state
    if (outcome.last) result = x;
    PublishState(chain, task.row, outcome);
    if (outcome.last) x = std::move(result);
  }
  if (outcome.last) {
    stream.AddRows(chain.denoiser_rows);
    stream.Finish(chain.index, ResultOf(chain, task, outcome));
    std::vector<float>().swap(outcome.decoded_x);  // too large to be kept for the next
  }
}

void Engine::Fail(Chain& chain, const Failure& failure) {
  chain.failed = true;
  metrics_->ChainFailed(failure.reason);
  chain.request->stream->Fail(failure.status);
}

}  // namespace denoise
