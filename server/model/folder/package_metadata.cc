#include "server/model/folder/package_metadata.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace denoise {
namespace {

// Rows that the examination calls with; every package takes more.
constexpr int64_t kLeastRows = 16;

constexpr char kExportHere[] =
    "export it on a machine like this one with models/export_aotinductor.py, or serve denoiser.pt "
    "with --executor torchscript";

absl::Status Refused(absl::string_view reason, absl::string_view fix = kExportHere) {
  return absl::InvalidArgumentError(absl::StrCat("denoiser.pt2: ", reason, ": ", fix));
}

// Empty where the key is not there.
std::string Get(const PackageMetadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

// What a word of AOTI_CPU_ISA needs of the CPU: the level of the x86-64 ABI that the export script
// compiles for with it, and the flags that Inductor adds.
const std::map<std::string, std::vector<std::string>>& FeaturesOfWords() {
  static const auto* const words = new std::map<std::string, std::vector<std::string>>{
      {"AVX2", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}},
      {"AVX512",
       {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "avx512f", "avx512bw",
        "avx512cd", "avx512dq", "avx512vl"}},
      {"AVX512_VNNI", {"avx512_vnni"}},
      {"AMX_TILE", {"amx_tile", "amx_bf16", "amx_int8"}},
  };
  return *words;
}

absl::Status CheckInstructions(const std::string& isa, const std::set<std::string>& features) {
  const std::vector<std::string> words = absl::StrSplit(isa, ' ', absl::SkipEmpty());
  for (const std::string& word : words) {
    const auto found = FeaturesOfWords().find(word);
    if (found == FeaturesOfWords().end()) {
      return Refused(absl::StrCat("is compiled for the instruction set ", isa,
                                  ", of which this server does not know ", word));
    }
    std::vector<std::string> missing;
    std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(missing),
                 [&](const std::string& feature) { return features.count(feature) == 0; });
    if (missing.empty()) continue;
    return Refused(
        absl::StrCat("is compiled for the instruction set ", isa, ", and this CPU has no ",
                     absl::StrJoin(missing, ", ")),
        "export it on the oldest of your machines, or with --isa avx2 for every CPU that has "
        "AVX2; or serve denoiser.pt with --executor torchscript");
  }
  if (absl::StrContains(isa, "AVX")) return absl::OkStatus();
  return Refused("does not say for which instruction set it is compiled");
}

// "2.13" of "2.13.0+cpu".
std::string ReleaseOf(absl::string_view version) {
  const std::vector<std::string> parts = absl::StrSplit(version, '.');
  return parts.size() < 2 ? std::string(version) : absl::StrCat(parts[0], ".", parts[1]);
}

// What the package is called with; the export script writes the same.
std::string SignatureOf(const ModelInfo& model, absl::string_view time) {
  const auto rows = [](absl::string_view type, const std::vector<int64_t>& shape) {
    std::vector<std::string> extents = {"N"};
    for (const int64_t extent : shape) extents.push_back(absl::StrCat(extent));
    return absl::StrCat(std::string(type), " [", absl::StrJoin(extents, ", "), "]");
  };
  std::vector<std::string> arguments = {
      rows("float32", {model.shape.channels, model.shape.height, model.shape.width}),
      rows(time, {})};
  for (const ModelInput& input : model.inputs) {
    arguments.push_back(rows(std::string(Name(input.type)), input.shape));
  }
  return absl::StrJoin(arguments, ", ");
}

absl::Status CheckHost(const PackageMetadata& metadata, const PackageHost& host) {
  const std::string device = Get(metadata, "AOTI_DEVICE_KEY");
  if (device != "cpu") {
    return Refused(
        absl::StrCat("is compiled for the device ", device, ", and this server has CPUs"));
  }
  const std::string platform = Get(metadata, "AOTI_PLATFORM");
  const std::string architecture = Get(metadata, "AOTI_MACHINE");
  if (platform != "linux" || architecture != host.architecture) {
    return Refused(absl::StrCat("is compiled for ", architecture, " with ", platform,
                                ", and this is ", host.architecture, " with linux"));
  }
  const std::string libtorch = Get(metadata, "denoise_torch");
  if (ReleaseOf(libtorch) != ReleaseOf(host.libtorch)) {
    return Refused(absl::StrCat("is compiled with PyTorch ", libtorch,
                                ", and this server has LibTorch ", host.libtorch),
                   absl::StrCat("export it with PyTorch ", ReleaseOf(host.libtorch),
                                ", or serve denoiser.pt with --executor torchscript"));
  }
  return CheckInstructions(Get(metadata, "AOTI_CPU_ISA"), host.features);
}

}  // namespace

std::set<std::string> FeaturesOf(absl::string_view cpuinfo) {
  for (const absl::string_view line : absl::StrSplit(cpuinfo, '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (parts.size() < 2 || absl::StripAsciiWhitespace(parts[0]) != "flags") continue;
    return absl::StrSplit(parts[1], absl::ByAnyChar(" \t"), absl::SkipEmpty());
  }
  return {};
}

PackageHost ThisPackageHost(absl::string_view libtorch) {
  PackageHost host;
  utsname name{};
  if (uname(&name) == 0) host.architecture = name.machine;
  std::ifstream file("/proc/cpuinfo");
  const std::string cpuinfo{std::istreambuf_iterator<char>(file), {}};
  host.features = FeaturesOf(cpuinfo);
  host.libtorch = std::string(libtorch);
  return host;
}

absl::StatusOr<PackageTraits> CheckPackage(const PackageMetadata& metadata, const PackageHost& host,
                                           const ModelInfo& model) {
  const std::string signature = Get(metadata, "denoise_signature");
  const std::string precision = Get(metadata, "denoise_precision");
  PackageTraits traits;
  if (signature.empty() || (precision != "float32" && precision != "bfloat16") ||
      !absl::SimpleAtoi(Get(metadata, "denoise_max_rows"), &traits.max_rows) ||
      traits.max_rows < kLeastRows) {
    return Refused("does not say how it may be called",
                   "export it with models/export_aotinductor.py, which adds that; or serve "
                   "denoiser.pt with --executor torchscript");
  }
  if (absl::Status status = CheckHost(metadata, host); !status.ok()) return status;
  traits.bfloat16 = precision == "bfloat16";
  traits.integer_time = signature == SignatureOf(model, "int64");
  if (!traits.integer_time && signature != SignatureOf(model, "float32")) {
    return Refused(absl::StrCat("is compiled for (", signature, "), where model.json means (",
                                SignatureOf(model, "float32"), ") or t int64"),
                   "export it again, for this model.json");
  }
  return traits;
}

}  // namespace denoise
