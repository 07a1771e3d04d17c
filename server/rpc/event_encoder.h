// Events of a request as messages of the API.
#ifndef DENOISE_SERVER_RPC_EVENT_ENCODER_H_
#define DENOISE_SERVER_RPC_EVENT_ENCODER_H_

#include "absl/status/status.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/request.h"
#include "server/engine/waiting_queue.h"

namespace denoise {

// Each fills a message that is empty. They encode pictures: not for engine threads, nor for
// reactions.

// Accepted of a Sample; of a Diffuse with `forward`: timesteps and alpha_bars are those of the
// states after each step.
void EncodeAccepted(const Request& request, bool forward, v1::Accepted* message);

absl::Status EncodeState(const Request& request, bool png, const StateEvent& event,
                         v1::State* message);

absl::Status EncodeResult(const Request& request, bool png, const ResultEvent& event,
                          v1::Result* message);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_EVENT_ENCODER_H_
