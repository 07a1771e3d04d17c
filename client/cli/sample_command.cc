#include "client/cli/sample_command.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/input_files.h"
#include "client/cli/pictures/npy.h"
#include "client/cli/progress.h"
#include "client/cli/state_log.h"

namespace denoise::cli {
namespace {

constexpr int kGap = 2;

// What a chain's end leaves behind.
struct Outcome {
  Accepted accepted;
  Result result;
};

// Reads the stream to its end.
absl::StatusOr<Outcome> Follow(SampleStream& stream, uint32_t num_samples, StateLog& log,
                               Progress& progress) {
  Outcome outcome;
  for (auto& event : stream) {
    if (!event.ok()) return event.status();
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      progress.Accepted(num_samples, accepted->total_steps, accepted->queue_position,
                        accepted->estimated_wait);
      outcome.accepted = std::move(*accepted);
    } else if (auto* state = std::get_if<State>(&*event)) {
      if (auto status = log.Add(*state); !status.ok()) return status;
      progress.Update(state->sample_index, state->step);
    } else {
      outcome.result = std::get<Result>(*std::move(event));
    }
  }
  return outcome;
}

std::vector<Picture> PicturesOf(const Tensor& samples, const SampleFormat& format) {
  std::vector<Picture> pictures;
  const absl::Span<const float> values(samples.values);
  for (size_t at = 0; at < values.size(); at += format.size()) {
    pictures.push_back(ToPicture(values.subspan(at, format.size()), format));
  }
  return pictures;
}

// Two rows of samples at most, as wide as the terminal.
void Preview(const std::vector<Picture>& pictures, Console& console) {
  const int columns = (console.columns + 1) / (pictures[0].width + 1);
  if (columns == 0) return;
  const size_t shown = std::min<size_t>(pictures.size(), size_t{2} * columns);
  const int used = pictures.size() <= static_cast<size_t>(columns)
                       ? columns
                       : std::min(columns, static_cast<int>((shown + 1) / 2));
  console.out << HalfBlocks(Grid(absl::MakeConstSpan(pictures).first(shown), used, 1, 1));
  if (shown < pictures.size()) {
    console.Say(absl::StrCat("(", shown, " of ", pictures.size(), " samples)"));
  }
}

// Writes the files; says which to people, and to `document`.
absl::Status WriteFiles(const SampleFlags& flags, const Outcome& outcome, const StateLog& log,
                        const absl::StatusOr<SampleFormat>& format, Console& console,
                        nlohmann::json* document) {
  if (!flags.out.empty()) {
    const std::string bytes =
        HasExtension(flags.out, ".npy") ? EncodeNpy(outcome.result.samples) : [&] {
          const auto pictures = PicturesOf(outcome.result.samples, *format);
          return EncodePng(Grid(pictures, SquareColumns(pictures.size()),
                                ScaleFor(flags.scale, *format, kPictureSide),
                                pictures.size() > 1 ? kGap : 0));
        }();
    if (auto status = WriteFile(flags.out, bytes); !status.ok()) return status;
    (*document)["out"] = flags.out;
    console.Say(absl::StrCat("wrote ", flags.out));
  }
  if (!flags.states.empty()) {
    if (auto status = WriteFile(flags.states, EncodeNpy(log.ToTensor())); !status.ok()) {
      return status;
    }
    (*document)["states"] = flags.states;
    console.Say(absl::StrCat("wrote ", flags.states, " (", log.steps().size(), " steps)"));
  }
  if (!flags.animate.empty()) {
    const auto frames = log.ToFrames(*format, ScaleFor(flags.scale, *format, kAnimationSide));
    if (frames.empty()) return absl::DataLossError("no states came to be animated");
    const auto bytes = HasExtension(flags.animate, ".gif") ? EncodeGif(frames) : EncodeApng(frames);
    if (!bytes.ok()) return bytes.status();
    if (auto status = WriteFile(flags.animate, *bytes); !status.ok()) return status;
    (*document)["animation"] = flags.animate;
    (*document)["frames"] = frames.size();
    console.Say(absl::StrCat("wrote ", flags.animate, " (", frames.size(), " frames)"));
  }
  return absl::OkStatus();
}

nlohmann::json ToJson(const Outcome& outcome, const StateLog& log) {
  const auto& [accepted, result] = outcome;
  nlohmann::json timing = {
      {"queue_seconds", absl::ToDoubleSeconds(result.timing.queue)},
      {"sampling_seconds", absl::ToDoubleSeconds(result.timing.sampling)},
      {"first_state_seconds", nullptr},
      {"total_seconds", absl::ToDoubleSeconds(result.timing.total)},
  };
  if (result.timing.first_state) {
    timing["first_state_seconds"] = absl::ToDoubleSeconds(*result.timing.first_state);
  }
  nlohmann::json steps = nlohmann::json::array();
  for (const auto& [number, step] : log.steps()) {
    steps.push_back({{"step", number}, {"timestep", step.timestep}, {"alpha_bar", step.alpha_bar}});
  }
  return {
      {"request_id", accepted.request_id},
      {"model", accepted.model},
      {"model_version", accepted.model_version},
      {"seed", accepted.seed},
      {"total_steps", accepted.total_steps},
      {"timesteps", accepted.timesteps},
      {"alpha_bars", accepted.alpha_bars},
      {"shape", result.samples.shape},
      {"timing", timing},
      {"denoiser_rows", result.denoiser_rows},
      {"states_dropped", result.states_dropped},
      {"steps", steps},
  };
}

void Summarise(const Outcome& outcome, Console& console) {
  const auto& [accepted, result] = outcome;
  const absl::Duration tick = absl::Milliseconds(1);
  console.Say(absl::StrCat(
      result.samples.shape[0], " samples of ", accepted.model, " version ", accepted.model_version,
      ", ", accepted.total_steps, " steps, seed ", accepted.seed, ": ",
      absl::FormatDuration(absl::Trunc(result.timing.sampling, tick)), ", after ",
      absl::FormatDuration(absl::Trunc(result.timing.queue, tick)), " in the queue"));
  if (result.states_dropped > 0) {
    console.err << result.states_dropped
                << " states were left out, since they were read slower than they came" << std::endl;
  }
}

}  // namespace

int RunSample(const SampleFlags& flags, Client& client, Console& console, Interrupt& interrupt) {
  for (const auto& path : {flags.out, flags.animate, flags.states}) {
    if (path.empty()) continue;
    if (auto status = CheckWritable(path); !status.ok()) return console.Fail(status, EX_CANTCREAT);
  }

  const auto model =
      client.GetModel(flags.model.name, flags.model.version, flags.common.call_options());
  if (!model.ok()) return console.Fail(model.status());
  const auto format = FormatOf(*model, /*decoded=*/true);  // of all that is drawn
  const bool draws = HasExtension(flags.out, ".png") || !flags.animate.empty();
  if (draws && !format.ok()) return console.Fail(format.status());

  auto inputs = ReadSampleInputs(flags, *model);
  if (!inputs.ok()) return console.Fail(inputs.status(), InputExitCode(inputs.status()));
  const SampleRequest request = MakeSampleRequest(flags, *model, *std::move(inputs));
  StateLog log(request.num_samples, request.states.content, ShapeOf(*model, request.states.decode));
  absl::StatusOr<Outcome> outcome;
  {
    SampleStream stream = client.Sample(request, flags.common.call_options());
    const Interrupt::Scope scope(&interrupt, [&stream] { stream.Cancel(); });
    Progress progress(&console, SteadyNow);
    outcome = Follow(stream, request.num_samples, log, progress);
  }
  if (absl::IsCancelled(outcome.status()) && interrupt.signal() != 0) {
    return console.Interrupted(interrupt.signal());
  }
  if (!outcome.ok()) return console.Fail(outcome.status());
  const auto& shape = outcome->result.samples.shape;
  const auto& expected = ShapeOf(*model, request.decode);
  if (!std::equal(shape.begin() + 1, shape.end(), expected.begin(), expected.end())) {
    return console.Fail(absl::DataLossError("the result's shape is not that of the model"));
  }

  const bool pictures = format.ok() && (request.decode || !model->has_decoder);
  if (console.can_draw() && !flags.no_preview && pictures) {
    Preview(PicturesOf(outcome->result.samples, *format), console);
  }
  Summarise(*outcome, console);
  nlohmann::json document = ToJson(*outcome, log);
  if (auto status = WriteFiles(flags, *outcome, log, format, console, &document); !status.ok()) {
    return console.Fail(status,
                        absl::IsPermissionDenied(status) ? EX_CANTCREAT : ExitCodeOf(status));
  }
  if (console.json) console.Write(document);
  return EX_OK;
}

}  // namespace denoise::cli
