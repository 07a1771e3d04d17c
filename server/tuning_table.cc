#include "server/tuning_table.h"

#include "spdlog/fmt/fmt.h"

namespace denoise {

std::string TuningTable(const ModelInfo& info) {
  std::string table =
      fmt::format("  {:<12} {:<14} {:<9} {:>18} {:>5} {:>8} {:>9} {:>9}", "executor", "layout",
                  "precision", "replicas x threads", "rows", "rows/s", "call, ms", "apart");
  for (const TuningResult& way : info.tuning) {
    table += fmt::format("\n  {:<12} {:<14} {:<9} {:>18} {:>5} {:>8.0f} {:>9.2f} {:>9.1e}{}",
                         way.executor, way.layout, way.precision,
                         fmt::format("{} x {}", way.replicas, way.threads), way.batch_size,
                         way.rows_per_second, 1e3 * way.call_seconds, way.relative_error,
                         way.chosen ? "  chosen" : "");
  }
  return table;
}

}  // namespace denoise
