#include "server/metrics/process_collector.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

namespace denoise {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// What we use of proc(5)'s /proc/PID/stat.
struct Stat {
  double cpu_seconds = 0;
  double threads = 0;
  double start_ticks = 0;  // since boot
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

std::optional<Stat> ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string line((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The second field is the program's name in parentheses, and may hold spaces and parentheses.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(line.substr(name_end + 1));
  constexpr int kFirst = 3, kLast = 24;
  double field[kLast + 1] = {};
  std::string state;
  rest >> state;
  for (int i = kFirst + 1; i <= kLast; ++i) rest >> field[i];
  if (!rest) return std::nullopt;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return Stat{.cpu_seconds = (field[14] + field[15]) / ticks,
              .threads = field[20],
              .start_ticks = field[22],
              .virtual_bytes = field[23],
              .resident_bytes = field[24] * static_cast<double>(sysconf(_SC_PAGESIZE))};
}

// When the machine started, in seconds since 1970.
std::optional<double> BootSeconds() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;) {
    double seconds;
    if (word == "btime" && file >> seconds) return seconds;
  }
  return std::nullopt;
}

std::optional<double> OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
  double count = -1;  // without the one that reads the folder
  for (; !error && entry != end; entry.increment(error)) ++count;
  if (error) return std::nullopt;
  return count;
}

MetricFamily Family(std::string name, std::string help, MetricType type, double value) {
  MetricFamily family{std::move(name), std::move(help), type,
                      std::vector<prometheus::ClientMetric>(1)};
  (type == MetricType::Counter ? family.metric[0].counter.value : family.metric[0].gauge.value) =
      value;
  return family;
}

}  // namespace

std::vector<MetricFamily> ProcessCollector::Collect() const {
  std::vector<MetricFamily> families;
  if (const std::optional<Stat> stat = ReadStat()) {
    families.push_back(Family("process_cpu_seconds_total", "User and system CPU time spent.",
                              MetricType::Counter, stat->cpu_seconds));
    families.push_back(Family("process_resident_memory_bytes", "Resident memory.",
                              MetricType::Gauge, stat->resident_bytes));
    families.push_back(Family("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge,
                              stat->virtual_bytes));
    families.push_back(
        Family("process_threads", "Threads of the process.", MetricType::Gauge, stat->threads));
    if (const std::optional<double> boot = BootSeconds()) {
      families.push_back(
          Family("process_start_time_seconds", "When the process started, in seconds since 1970.",
                 MetricType::Gauge, *boot + stat->start_ticks / sysconf(_SC_CLK_TCK)));
    }
  }
  if (const std::optional<double> open = OpenFiles()) {
    families.push_back(
        Family("process_open_fds", "Open file descriptors.", MetricType::Gauge, *open));
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.push_back(Family("process_max_fds", "Most file descriptors that may be open.",
                              MetricType::Gauge, static_cast<double>(limit.rlim_cur)));
  }
  return families;
}

}  // namespace denoise
