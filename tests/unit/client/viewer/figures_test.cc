#include "client/viewer/figures.h"

#include "gtest/gtest.h"

namespace denoise::viewer {
namespace {

TEST(FiguresTest, AreSummedOverLabels) {
  const Figures figures = ParseFigures(
      "# HELP denoise_rows_total Rows.\n"
      "# TYPE denoise_rows_total counter\n"
      "denoise_rows_total{model=\"a b\"} 5\n"
      "denoise_rows_total{model=\"c\"} 7.5\n"
      "denoise_requests_waiting 3\n"
      "denoise_chains_active NaN\n"
      "denoise_chains_active 2\n"
      "denoise_batch_rows_sum 40\n"
      "denoise_batch_rows_count 8\n"
      "denoise_batch_rows_bucket{le=\"+Inf\"} 8\n"
      "denoise_rows_total\n");
  EXPECT_EQ(figures.rows_total, 12.5);
  EXPECT_EQ(figures.requests_waiting, 3);
  EXPECT_EQ(figures.chains_active, 2);
  EXPECT_EQ(figures.batch_rows_sum, 40);
  EXPECT_EQ(figures.batch_rows_count, 8);
}

}  // namespace
}  // namespace denoise::viewer
