#include "client/cli/load/histogram_picture.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise::cli {
namespace {

// In pixels.
constexpr int kLeft = 110;  // for labels
constexpr int kBins = 160;
constexpr int kBinWidth = 4;
constexpr int kPlotWidth = kBins * kBinWidth;
constexpr int kPanel = 72;   // of one histogram,
constexpr int kHeight = 60;  // of which its bars have at most
constexpr int kAxis = 28;
constexpr int kRight = 40;
constexpr int kDot = 2;  // of the letters

constexpr uint8_t kPaper = 255;
constexpr uint8_t kGrid = 224;
constexpr uint8_t kInk = 32;
constexpr uint8_t kBar = 96;

// Letters of 3 × 5 dots: a row is an octal digit, its highest bit on the left.
uint32_t Glyph(char letter) {
  constexpr uint32_t kDigits[] = {075557, 026227, 071747, 071717, 055711,
                                  074717, 074757, 071111, 075757, 075717};
  if (letter >= '0' && letter <= '9') return kDigits[letter - '0'];
  switch (letter) {
    case 'a':
      return 003557;
    case 'e':
      return 075747;
    case 'l':
      return 062227;
    case 'm':
      return 007755;
    case 'p':
      return 075744;
    case 's':
      return 034716;
    case 't':
      return 027223;
    case 'u':
      return 005557;
    default:
      return 0;
  }
}

class Canvas {
 public:
  Canvas(int width, int height) : picture_{width, height, 1, {}} {
    picture_.pixels.assign(static_cast<size_t>(width) * height, kPaper);
  }

  void Fill(int left, int top, int width, int height, uint8_t shade) {
    for (int y = std::max(0, top); y < std::min(picture_.height, top + height); ++y) {
      for (int x = std::max(0, left); x < std::min(picture_.width, left + width); ++x) {
        picture_.pixels[static_cast<size_t>(y) * picture_.width + x] = shade;
      }
    }
  }

  static int WidthOf(std::string_view text) { return static_cast<int>(text.size()) * 4 * kDot; }

  void Write(int left, int top, std::string_view text) {
    for (const char letter : text) {
      for (int dot = 0; dot < 15; ++dot) {
        if ((Glyph(letter) >> (14 - dot) & 1) == 0) continue;
        Fill(left + dot % 3 * kDot, top + dot / 3 * kDot, kDot, kDot, kInk);
      }
      left += 4 * kDot;
    }
  }

  Picture Take() && { return std::move(picture_); }

 private:
  Picture picture_;
};

// The axis: powers of ten of microseconds.
struct Range {
  double low = 0;
  double high = 1;

  double At(absl::Duration latency) const {
    const double micros = std::max(1.0, absl::ToDoubleMicroseconds(latency));
    return (std::log10(micros) - low) / (high - low);
  }
};

Range RangeOf(const std::vector<LabelledHistogram>& histograms) {
  absl::Duration min = absl::InfiniteDuration();
  absl::Duration max;
  for (const auto& [label, latencies] : histograms) {
    if (latencies->count() == 0) continue;
    min = std::min(min, latencies->min());
    max = std::max(max, latencies->max());
  }
  if (min > max) return {};
  // A margin, and an extent where all are one.
  return {std::log10(std::max(1.0, absl::ToDoubleMicroseconds(min))) - 0.1,
          std::log10(std::max(1.0, absl::ToDoubleMicroseconds(max))) + 0.1};
}

// "20ms"
std::string TimeLabel(int64_t micros) {
  if (micros >= 1'000'000) return absl::StrCat(micros / 1'000'000, "s");
  if (micros >= 1'000) return absl::StrCat(micros / 1'000, "ms");
  return absl::StrCat(micros, "us");
}

void DrawAxis(const Range& range, int height, Canvas* canvas) {
  int free_from = 0;  // where no label is yet
  for (int64_t decade = 1; decade <= int64_t{1'000'000'000'000}; decade *= 10) {
    for (const int64_t micros : {decade, 2 * decade, 5 * decade}) {
      const double at = range.At(absl::Microseconds(micros));
      if (at < 0 || at > 1) continue;
      const int x = kLeft + static_cast<int>(at * kPlotWidth);
      canvas->Fill(x, 0, 1, height, kGrid);
      const std::string label = TimeLabel(micros);
      const int left = x - Canvas::WidthOf(label) / 2;
      if (left < free_from) continue;
      canvas->Write(left, height + 8, label);
      free_from = left + Canvas::WidthOf(label) + 8;
    }
  }
}

// A bucket that reaches over several bins is shared out among them, so that narrow bins show no
// gaps.
std::vector<double> BinsOf(const LatencyHistogram& latencies, const Range& range) {
  std::vector<double> bins(kBins);
  latencies.ForEach([&](absl::Duration low, absl::Duration high, uint64_t count) {
    const auto bin = [&](absl::Duration latency) {
      return std::clamp(static_cast<int>(range.At(latency) * kBins), 0, kBins - 1);
    };
    const int first = bin(low);
    const int last = std::max(first, bin(high - absl::Nanoseconds(1)));
    for (int i = first; i <= last; ++i) bins[i] += static_cast<double>(count) / (last - first + 1);
  });
  return bins;
}

}  // namespace

Picture DrawHistograms(const std::vector<LabelledHistogram>& histograms) {
  const int height = kPanel * static_cast<int>(histograms.size());
  Canvas canvas(kLeft + kPlotWidth + kRight, height + kAxis);
  const Range range = RangeOf(histograms);
  DrawAxis(range, height, &canvas);
  for (size_t i = 0; i < histograms.size(); ++i) {
    const int bottom = kPanel * (static_cast<int>(i) + 1) - 1;
    canvas.Write(8, bottom - kHeight / 2, histograms[i].label);
    const auto bins = BinsOf(*histograms[i].latencies, range);
    const double most = *std::max_element(bins.begin(), bins.end());
    for (int bin = 0; bin < kBins && most > 0; ++bin) {
      // A latency is visible, however rare it is.
      const int bar = static_cast<int>(std::ceil(bins[bin] / most * kHeight));
      canvas.Fill(kLeft + bin * kBinWidth, bottom - bar, kBinWidth, bar, kBar);
    }
    canvas.Fill(kLeft, bottom, kPlotWidth, 1, kInk);
  }
  return std::move(canvas).Take();
}

}  // namespace denoise::cli
