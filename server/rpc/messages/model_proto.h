// A model of the catalog as a message of the API.
#ifndef DENOISE_SERVER_RPC_MESSAGES_MODEL_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_MODEL_PROTO_H_

#include "denoise/v1/diffusion.pb.h"
#include "server/rpc/catalog.h"

namespace denoise {

void EncodeModel(const CatalogEntry& entry, v1::Model* message);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_MODEL_PROTO_H_
