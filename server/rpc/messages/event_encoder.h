// Events of a request as messages of the API.
#ifndef DENOISE_SERVER_RPC_MESSAGES_EVENT_ENCODER_H_
#define DENOISE_SERVER_RPC_MESSAGES_EVENT_ENCODER_H_

#include "absl/status/status.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/event_stream.h"
#include "server/engine/request.h"

namespace denoise {

// What of a call's answer is pictures.
struct Encodings {
  bool png_states = false;
  bool png_samples = false;
};

// Each fills a message that is empty; which call it is, its type says.

// Accepted. Its timesteps and alpha_bars are those of the steps for a Sample, of the states asked
// for in a Diffuse, of the terms for an Evaluate.
void EncodeAccepted(const Request& request, v1::SampleEvent* message);
void EncodeAccepted(const Request& request, v1::DiffuseEvent* message);
void EncodeAccepted(const Request& request, v1::EvaluateEvent* message);

// An event of the request's stream, but for a Status. The message stays empty for the end of a
// Diffuse, whose states were its answer. They encode pictures: not for engine threads, nor for
// reactions.
absl::Status EncodeEvent(const Request& request, const Encodings& encodings,
                         const StreamEvent& event, v1::SampleEvent* message);
absl::Status EncodeEvent(const Request& request, const Encodings& encodings,
                         const StreamEvent& event, v1::DiffuseEvent* message);
absl::Status EncodeEvent(const Request& request, const Encodings& encodings,
                         const StreamEvent& event, v1::EvaluateEvent* message);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_EVENT_ENCODER_H_
