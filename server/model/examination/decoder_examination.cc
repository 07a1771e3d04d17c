#include "server/model/examination/decoder_examination.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "c10/core/InferenceMode.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/examination/examination.h"
#include "server/model/examination/examiner.h"
#include "server/model/examination/example_rows.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

constexpr double kRepeated = 1e-5;  // what equal calls may differ by
// Of a call: values that it answers, and samples.
constexpr int64_t kMostValues = int64_t{1} << 19;
constexpr int64_t kMostRows = 16;

int64_t MostRows(const SampleShape& decoded) {
  int64_t rows = 1;
  while (rows < kMostRows && 2 * rows * decoded.values() <= kMostValues) rows *= 2;
  return rows;
}

absl::Status Refused(const std::string& reason, absl::string_view fix) {
  return absl::InvalidArgumentError(absl::StrCat("decoder.pt: ", reason, ": ", fix));
}

// Asks a decoder about the example rows.
class Asker {
 public:
  Asker(const Decoder& decoder, const ModelInfo& info, const Carrier& carrier)
      : decoder_(decoder), shape_(info.shape), carrier_(carrier), rows_(info) {}

  // What it makes of these pictures, contiguous, floating point, [N, C', H', W'] and finite.
  absl::StatusOr<Answer> Ask(absl::Span<const int> pictures) const {
    const auto count = static_cast<int64_t>(pictures.size());
    const c10::InferenceMode inference;
    const at::Tensor latents = EmptyInput({count, shape_.channels, shape_.height, shape_.width},
                                          Layout::kContiguous, decoder_.device());
    auto* const data = latents.mutable_data_ptr<float>();
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(rows_.picture(pictures[i]), shape_.values(), data + i * shape_.values());
    }
    absl::StatusOr<at::Tensor> answer = absl::InternalError("the decoder was not called");
    const absl::Status carried = Carry(carrier_, [&] {
      answer = decoder_.Run(latents);
      return absl::OkStatus();
    });
    if (!carried.ok()) return carried;
    if (!answer.ok()) return Explain(answer.status(), count);
    return Check(*answer, count);
  }

 private:
  // "for 2 samples of [4, 8, 8]"
  std::string Describe(int64_t count) const {
    return absl::StrCat("for ", count, count == 1 ? " sample" : " samples", " of [",
                        shape_.channels, ", ", shape_.height, ", ", shape_.width, "]");
  }

  absl::Status Explain(const absl::Status& status, int64_t count) const {
    if (absl::IsResourceExhausted(status)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("decoder.pt: memory ran out ", Describe(count)));
    }
    return Refused(absl::StrCat("forward failed ", Describe(count), " (", status.message(),
                                "), its weights being ", PrecisionName(decoder_.dtype())),
                   "it must take latents [N, C, H, W] as the denoiser has them, for any N, in "
                   "the type of its weights and on their device: correct model.json's "
                   "sample_shape, or export it again");
  }

  absl::StatusOr<Answer> Check(const at::Tensor& tensor, int64_t count) const {
    if (tensor.scalar_type() != at::kFloat) {
      return Refused(absl::StrCat("forward answers ", at::toString(tensor.scalar_type())),
                     "it must answer floating point: add .float() to what it returns");
    }
    if (tensor.dim() != 4 || tensor.size(0) != count || tensor.numel() == 0) {
      return Refused(absl::StrCat("forward answers [", absl::StrJoin(tensor.sizes(), ", "), "] ",
                                  Describe(count)),
                     absl::StrCat("it must answer [", count,
                                  ", C, H, W], of its own C, H and W: reshape what it returns"));
    }
    Answer answer{tensor, tensor.numel() / count};
    const float* const begin = answer.row(0);
    if (std::all_of(begin, begin + tensor.numel(), [](float v) { return std::isfinite(v); })) {
      return answer;
    }
    return Refused(absl::StrCat("forward answers values that are not finite ", Describe(count)),
                   decoder_.dtype() == at::kHalf
                       ? "float16 overflows at 65504: export it in bfloat16 or float32"
                       : "look for a division by zero or an overflow in it, or for damaged "
                         "weights");
  }

  const Decoder& decoder_;
  const SampleShape shape_;
  const Carrier& carrier_;
  const ExampleRows rows_;
};

}  // namespace

absl::StatusOr<DecoderFindings> ExamineDecoder(const Decoder& decoder, const ModelInfo& info,
                                               bool one_by_one, const Carrier& carrier,
                                               std::vector<TestResult>* results) try {
  const Asker asker(decoder, info, carrier);
  const auto alone = asker.Ask({0});
  if (!alone.ok()) return alone.status();
  const SampleShape shape = {alone->tensor.size(1), alone->tensor.size(2), alone->tensor.size(3)};
  const DecoderFindings findings = {shape, one_by_one ? 1 : MostRows(shape)};
  results->push_back(
      {"decoder", absl::StrCat(PrecisionName(decoder.dtype()), ", answers ", shape.channels, " x ",
                               shape.height, " x ", shape.width)});

  const auto again = asker.Ask({0});
  if (!again.ok()) return again.status();
  const double repeated = alone->values == again->values
                              ? DifferenceOf(alone->row(0), again->row(0), alone->values)
                              : INFINITY;
  if (one_by_one && repeated > 0 && repeated <= kRepeated) {
    return Refused(absl::StrCat("two equal calls differ by ", repeated, " of their size"),
                   "--batch-invariant promises equal bits: serve it without the flag");
  }
  if (!(repeated <= kRepeated)) {
    return Refused("two equal calls gave different answers",
                   "dropout is on, or forward draws random numbers (a VAE's encoder does, its "
                   "decoder must not): call eval() on the module before tracing or scripting it");
  }
  results->push_back({"its equal calls", repeated == 0 ? std::string("equal, bit for bit")
                                                       : absl::StrCat("apart by ", repeated)});

  if (findings.max_rows == 1) {
    results->push_back({"its samples", "decoded one by one"});
    return findings;
  }
  const auto first = asker.Ask({0, 1});
  if (!first.ok()) return first.status();
  const auto last = asker.Ask({2, 0});
  if (!last.ok()) return last.status();
  if (first->values != alone->values || last->values != alone->values) {
    return Refused("the shape of what forward makes of a sample changes with the samples beside it",
                   "let it answer [N, C, H, W] for N samples");
  }
  const double company = std::max(DifferenceOf(first->row(0), alone->row(0), alone->values),
                                  DifferenceOf(last->row(1), alone->row(0), alone->values));
  // As for denoisers: more than any choice of kernels explains.
  if (!(company <= std::max(1e-3, 2 * RoundingOf(decoder.dtype())))) {
    return Refused(absl::StrCat("what forward makes of a sample changes by ", company,
                                " of its size with the samples beside it"),
                   "BatchNorm in training mode, or another sum over the batch: call eval() on the "
                   "module before tracing or scripting it");
  }
  results->push_back(
      {"its samples", absl::StrCat("independent (apart by ", company, " of its size), up to ",
                                   findings.max_rows, " decoded together")});
  return findings;
} catch (...) {
  return CurrentExceptionStatus();
}

absl::StatusOr<double> DecoderDifference(const Decoder& a, const Decoder& b, const ModelInfo& info,
                                         const Carrier& carrier) try {
  const Asker of_a(a, info, carrier), of_b(b, info, carrier);
  double worst = 0;
  for (int i = 0; i < ExampleRows::kRows; ++i) {
    const auto answer_a = of_a.Ask({i});
    if (!answer_a.ok()) return answer_a.status();
    const auto answer_b = of_b.Ask({i});
    if (!answer_b.ok()) return answer_b.status();
    if (answer_a->values != answer_b->values) return INFINITY;
    worst = std::max(worst, DifferenceOf(answer_a->row(0), answer_b->row(0), answer_a->values));
  }
  return worst;
} catch (...) {
  return CurrentExceptionStatus();
}

absl::Status WarmUpDecoder(const Decoder& decoder, const ModelInfo& info,
                           const Carrier& carrier) try {
  const Asker asker(decoder, info, carrier);
  for (int64_t rows = 1; rows <= info.decoder->max_rows; rows *= 2) {
    absl::Status status = asker.Ask(std::vector<int>(rows, 0)).status();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
}

}  // namespace denoise
