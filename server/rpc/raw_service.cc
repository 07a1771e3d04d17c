#include "server/rpc/raw_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/codegen/server_callback_handlers.h"
#include "grpcpp/impl/rpc_service_method.h"

namespace denoise {

// As generated code does it for a method of its own.
void RawService::Serve(absl::string_view method,
                       std::function<RawReactor*(grpc::CallbackServerContext*)> start) {
  using Handler = grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>;
  const int index = static_cast<int>(paths_.size());
  paths_.push_back(absl::StrCat("/", name_, "/", method));
  AddMethod(new grpc::internal::RpcServiceMethod(
      paths_.back().c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRawCallback(index, new Handler(std::move(start)));
}

}  // namespace denoise
