// Services whose calls come as bytes.
#ifndef DENOISE_SERVER_RPC_RAW_SERVICE_H_
#define DENOISE_SERVER_RPC_RAW_SERVICE_H_

#include <functional>
#include <list>
#include <string>

#include "absl/strings/string_view.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace denoise {

using RawReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// Every method, whatever it is in its .proto, is a stream of bytes either way: on the wire that is
// the same. So gRPC asks for a call's reactor as soon as the metadata is there, and before a read
// is started it takes in no more of the message than a stream's window, 64 KiB. As a unary method
// it would first receive the message and parse it, whoever sent it.
class RawService : public grpc::Service {
 protected:
  // `name`: of the service, with its package.
  explicit RawService(absl::string_view name) : name_(name) {}

  // In the constructor. `start` makes the reactor of a call.
  void Serve(absl::string_view method,
             std::function<RawReactor*(grpc::CallbackServerContext*)> start);

 private:
  const std::string name_;
  std::list<std::string> paths_;  // of which gRPC keeps pointers
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_RAW_SERVICE_H_
