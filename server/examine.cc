#include "server/examine.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/devices.h"
#include "server/model/served_model.h"
#include "server/replicas.h"
#include "server/tuning_table.h"
#include "spdlog/fmt/fmt.h"

namespace denoise {
namespace {

void Line(std::ostream& out, const char* name, const std::string& value) {
  out << fmt::format("  {:<20}{}\n", name, value);
}

std::string Extent(int64_t extent) {
  return extent < 0 ? std::string("any") : absl::StrCat(extent);
}

std::string Describe(const ModelInput& input, const ModelInfo& info) {
  std::string text = absl::StrCat(input.name, ": ", std::string(Name(input.type)), " [N");
  for (const int64_t extent : input.shape) absl::StrAppend(&text, ", ", Extent(extent));
  text += "]";
  if (input.kind == ModelInput::Kind::kClassLabels) {
    absl::StrAppend(&text, ", 0 to ", info.num_classes - 1,
                    info.null_class.has_value() ? absl::StrCat(", none: ", *info.null_class) : "");
  } else {
    text += input.null_value.has_value() ? ", may be left out" : ", must be given";
  }
  return text;
}

void WriteFiles(const ServedModel& model, std::ostream& out) {
  const ModelInfo& info = *model.info();
  const SampleShape& shape = info.shape;
  out << "files\n";
  Line(out, "model", absl::StrCat(info.name, ", version ", info.version));
  Line(out, "samples",
       absl::StrCat(shape.channels, " x ", shape.height, " x ", shape.width, ", ", info.value_min,
                    " to ", info.value_max,
                    info.levels > 0 ? absl::StrCat(", ", info.levels, " levels") : ""));
  for (const ModelInput& input : info.inputs) Line(out, "input", Describe(input, info));
  std::string schedule =
      absl::StrCat(info.config.class_name, ", ", info.config.num_train_timesteps(), " steps, ",
                   std::string(Name(info.config.prediction)));
  if (info.config.variance.has_value()) {
    absl::StrAppend(&schedule, ", ", std::string(Name(*info.config.variance)));
  }
  Line(out, "scheduler", schedule);
  Line(out, "defaults",
       absl::StrCat(std::string(Name(info.default_sampler.value_or(info.config.default_sampler))),
                    ", ", info.default_steps, " steps, guidance ", info.default_guidance_scale));
  Line(out, "sha256", info.sha256);
  if (info.decoder.has_value()) {
    const SampleFormat& format = info.decoder->format;
    Line(out, "decoder",
         absl::StrCat("values ", format.value_min, " to ", format.value_max, ", sha256 ",
                      info.decoder->sha256));
  }
  for (const std::string& remark : model.remarks()) Line(out, "remark", remark);
}

void WriteTests(const ExaminationReport& report, std::ostream& out) {
  if (report.tests.empty()) return;
  out << "examination\n";
  for (const TestResult& test : report.tests) Line(out, test.test.c_str(), test.result);
}

// "A", "B", …, for sizes that agree.
std::string AgreementName(int number) {
  if (number < 0) return "none: depends on position or neighbours";
  return number < 26 ? std::string(1, static_cast<char>('A' + number)) : absl::StrCat(number);
}

void WriteTuning(const ModelInfo& info, std::ostream& out) {
  out << (info.tuning.size() > 1 ? "tuning\n" : "runs as\n") << TuningTable(info) << "\n";
  Line(out, "numerics id", info.numerics_id);
}

void WriteSpeed(const ServedModel& model, const Devices& devices, std::ostream& out) {
  const ModelInfo& info = *model.info();
  const ExaminationReport& report = model.report();
  const std::string replica =
      !devices.accelerators.empty()
          ? devices.accelerators[0]
          : absl::StrCat("one replica of ",
                         info.threads == 1 ? "one thread" : absl::StrCat(info.threads, " threads"));
  out << fmt::format("calls, {}, {}, {}, {}\n", info.executor, info.layout, info.precision,
                     replica);
  out << "  rows        ms   rows/s   run   agree bit for bit\n";
  for (size_t i = 0; i < report.times.size(); ++i) {
    const BatchTime& time = report.times[i];
    const bool run =
        std::binary_search(info.batch_sizes.begin(), info.batch_sizes.end(), time.rows);
    out << fmt::format("  {:>4}  {:>8.2f}  {:>7.0f}   {:<3}   {}\n", time.rows, 1e3 * time.seconds,
                       time.rows_per_second(), run ? "yes" : "no",
                       AgreementName(report.agreement[i]));
  }
}

}  // namespace

absl::Status ExamineModel(const Flags& flags, std::ostream& out) {
  const auto devices = PrepareDevices(flags);
  if (!devices.ok()) return devices.status();
  const TuningCache cache(flags.tune_cache);
  LoadOptions options = OptionsOf(flags, *devices, flags.tune_cache.empty() ? nullptr : &cache);
  options.report_agreement = true;
  const auto model = ServedModel::Load({flags.examine, "", 1}, options);
  if (!model.ok()) return model.status();
  WriteFiles(**model, out);
  absl::Status status = (*model)->Examine();
  WriteTests((*model)->report(), out);
  if (status.ok()) {
    for (const std::string& warning : (*model)->warnings()) Line(out, "warning", warning);
    WriteTuning(*(*model)->info(), out);
    WriteSpeed(**model, *devices, out);
  }
  out.flush();
  return status;
}

}  // namespace denoise
