// Requests, as they go over the wire.
#ifndef DENOISE_CLIENT_ENCODE_H_
#define DENOISE_CLIENT_ENCODE_H_

#include "denoise/types.h"
#include "denoise/v1/diffusion.pb.h"

namespace denoise {
inline namespace client_v1 {

v1::SampleRequest Encode(const SampleRequest& request);
v1::DiffuseRequest Encode(const DiffuseRequest& request);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_ENCODE_H_
