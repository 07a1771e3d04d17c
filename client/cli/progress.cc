#include "client/cli/progress.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace denoise::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr int kTextColumns = 52;  // of what stands beside the bar, at most
constexpr int kMaxBarColumns = 40;

}  // namespace

absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

Progress::Progress(Console* console, std::function<absl::Duration()> now, std::string unit)
    : console_(console), now_(std::move(now)), unit_(std::move(unit)) {}

Progress::~Progress() { Clear(); }

void Progress::Accepted(uint32_t num_samples, uint32_t total_steps, uint32_t queue_position,
                        absl::Duration estimated_wait) {
  steps_.assign(num_samples, 0);
  total_steps_ = total_steps;
  total_ = uint64_t{num_samples} * total_steps;
  if (console_->quiet || queue_position == 0) return;
  console_->err << "waiting behind " << queue_position << " requests, about "
                << absl::FormatDuration(absl::Trunc(estimated_wait, absl::Milliseconds(100)))
                << std::endl;
}

void Progress::Update(uint32_t index, uint32_t step) {
  if (index >= steps_.size() || step <= steps_[index]) return;
  const bool first = done_ == 0;
  done_ += step - steps_[index];
  steps_[index] = step;
  if (first) {
    begin_ = now_();
    done_at_begin_ = done_;
  }
  if (!console_->quiet) Draw();
}

void Progress::Draw() {
  const absl::Duration now = now_();
  const uint64_t tenth = total_ > 0 ? done_ * 10 / total_ : 0;
  if (console_->err_is_terminal) {
    if (now - last_draw_ < kRedraw && done_ < total_) return;
  } else if (tenth == last_tenth_) {
    return;
  }
  last_draw_ = now;
  last_tenth_ = tenth;

  const double seconds = absl::ToDoubleSeconds(now - begin_);
  const double rate = seconds > 0 ? static_cast<double>(done_ - done_at_begin_) / seconds : 0;
  std::string text = absl::StrFormat("%s %d/%d", unit_, done_ / steps_.size(), total_steps_);
  if (rate > 0) {
    absl::StrAppendFormat(&text, "  %.0f %ss/s  ETA %.1fs", rate, unit_,
                          static_cast<double>(total_ - done_) / rate);
  }
  if (!console_->err_is_terminal) {
    console_->err << text << std::endl;
    return;
  }
  const int width = std::clamp(console_->columns - kTextColumns, 0, kMaxBarColumns);
  const int filled = static_cast<int>(total_ > 0 ? width * done_ / total_ : 0);
  console_->err << "\r[" << std::string(filled, '#') << std::string(width - filled, '.') << "] "
                << text << "\x1b[K" << std::flush;
  drawn_ = true;
}

void Progress::Clear() {
  if (drawn_) console_->err << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace denoise::cli
