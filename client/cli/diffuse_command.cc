#include "client/cli/diffuse_command.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/input_files.h"
#include "client/cli/pictures/npy.h"

namespace denoise::cli {
namespace {

constexpr int kGap = 2;
constexpr uint32_t kDefaultTimesteps = 8;

// Evenly from 0 to T-1, both included; no more than there are.
std::vector<uint32_t> EvenTimesteps(uint32_t num_train_timesteps) {
  const uint32_t count = std::min(kDefaultTimesteps, num_train_timesteps);
  std::vector<uint32_t> timesteps;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t last = num_train_timesteps - 1;
    timesteps.push_back(count > 1 ? static_cast<uint32_t>(i * last / (count - 1)) : 0);
  }
  return timesteps;
}

struct Outcome {
  Accepted accepted;
  Tensor states;  // [n, timesteps, C, H, W]
};

absl::StatusOr<Outcome> Follow(DiffuseStream& stream, const DiffuseRequest& request) {
  Outcome outcome;
  const auto& x_0 = request.x_0;
  const size_t samples = static_cast<size_t>(x_0.shape[0]);
  const size_t size = x_0.values.size() / samples;
  const auto& timesteps = request.timesteps;
  outcome.states.shape = x_0.shape;
  outcome.states.shape.insert(outcome.states.shape.begin() + 1,
                              static_cast<int64_t>(timesteps.size()));
  outcome.states.values.assign(samples * timesteps.size() * size,
                               std::numeric_limits<float>::quiet_NaN());
  for (auto& event : stream) {
    if (!event.ok()) return event.status();
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      outcome.accepted = std::move(*accepted);
      continue;
    }
    const auto& state = std::get<State>(*event);
    const auto timestep = std::find_if(timesteps.begin(), timesteps.end(), [&state](uint32_t t) {
      return static_cast<float>(t) == state.timestep;
    });
    if (timestep == timesteps.end() || state.tensor.values.size() != size) {
      return absl::DataLossError(
          absl::StrCat("the server sent a state that was not asked for, of t = ", state.timestep));
    }
    const size_t column = static_cast<size_t>(timestep - timesteps.begin());
    std::copy(
        state.tensor.values.begin(), state.tensor.values.end(),
        outcome.states.values.begin() + (state.sample_index * timesteps.size() + column) * size);
  }
  return outcome;
}

// A row for each sample, a column for each timestep.
std::string DrawPng(const Tensor& states, const SampleFormat& format, int scale) {
  std::vector<Picture> pictures;
  const absl::Span<const float> values(states.values);
  for (size_t at = 0; at < values.size(); at += format.size()) {
    pictures.push_back(ToPicture(values.subspan(at, format.size()), format));
  }
  return EncodePng(Grid(pictures, static_cast<int>(states.shape[1]), scale, kGap));
}

}  // namespace

int RunDiffuse(const DiffuseFlags& flags, Client& client, Console& console, Interrupt& interrupt) {
  const bool numbers = HasExtension(flags.out, ".npy");
  if (auto status = CheckWritable(flags.out); !status.ok()) {
    return console.Fail(status, EX_CANTCREAT);
  }

  const auto model =
      client.GetModel(flags.model.name, flags.model.version, flags.common.call_options());
  if (!model.ok()) return console.Fail(model.status());
  const auto format = FormatOf(*model, /*decoded=*/false);
  if (!numbers && !format.ok()) return console.Fail(format.status());

  DiffuseRequest request;
  request.model = flags.model.name;
  request.model_version = flags.model.version;
  request.seed = flags.seed;
  request.timesteps =
      flags.timesteps.empty() ? EvenTimesteps(model->num_train_timesteps) : flags.timesteps;
  request.chain = flags.chain;
  auto x_0 = ReadSamples("--image", flags.images, *model);
  if (!x_0.ok()) return console.Fail(x_0.status(), InputExitCode(x_0.status()));
  request.x_0 = *std::move(x_0);

  absl::StatusOr<Outcome> outcome;
  {
    DiffuseStream stream = client.Diffuse(request, flags.common.call_options());
    const Interrupt::Scope scope(&interrupt, [&stream] { stream.Cancel(); });
    outcome = Follow(stream, request);
  }
  if (absl::IsCancelled(outcome.status()) && interrupt.signal() != 0) {
    return console.Interrupted(interrupt.signal());
  }
  if (!outcome.ok()) return console.Fail(outcome.status());

  const std::string bytes =
      numbers ? EncodeNpy(outcome->states)
              : DrawPng(outcome->states, *format, ScaleFor(flags.scale, *format, kPictureSide));
  if (auto status = WriteFile(flags.out, bytes); !status.ok()) {
    return console.Fail(status, EX_CANTCREAT);
  }
  console.Say(absl::StrCat("wrote ", flags.out, " (", outcome->states.shape[0], " samples at ",
                           request.timesteps.size(), " timesteps, seed ", outcome->accepted.seed,
                           ")"));
  if (console.json) {
    console.Write({{"request_id", outcome->accepted.request_id},
                   {"model", outcome->accepted.model},
                   {"model_version", outcome->accepted.model_version},
                   {"seed", outcome->accepted.seed},
                   {"timesteps", request.timesteps},
                   {"alpha_bars", outcome->accepted.alpha_bars},
                   {"shape", outcome->states.shape},
                   {"out", flags.out}});
  }
  return EX_OK;
}

}  // namespace denoise::cli
