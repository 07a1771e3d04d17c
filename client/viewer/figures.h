// What the server's Prometheus metrics say, summed over models and devices.
#ifndef DENOISE_CLIENT_VIEWER_FIGURES_H_
#define DENOISE_CLIENT_VIEWER_FIGURES_H_

#include <string>

namespace denoise::viewer {

struct Figures {
  double requests_waiting = 0;
  double chains_active = 0;
  double rows_total = 0;        // denoiser rows since the server's start
  double batch_rows_sum = 0;    // the same without padding
  double batch_rows_count = 0;  // denoiser calls
};

// Of the text format. Lines that are not understood are passed over.
Figures ParseFigures(const std::string& text);

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_FIGURES_H_
