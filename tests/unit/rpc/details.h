// The google.rpc details of a status, read as a client would.
#ifndef DENOISE_TESTS_UNIT_RPC_DETAILS_H_
#define DENOISE_TESTS_UNIT_RPC_DETAILS_H_

#include <optional>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace denoise {

struct Details {
  google::rpc::Status status;
  std::optional<google::rpc::ErrorInfo> info;
  std::optional<google::rpc::BadRequest> bad_request;
  std::optional<google::rpc::RetryInfo> retry;

  double retry_seconds() const {
    return retry->retry_delay().seconds() + 1e-9 * retry->retry_delay().nanos();
  }
};

inline Details DetailsOf(const grpc::Status& status) {
  Details details;
  details.status.ParseFromString(status.error_details());
  for (const auto& any : details.status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info)) details.info = info;
    if (any.UnpackTo(&bad_request)) details.bad_request = bad_request;
    if (any.UnpackTo(&retry)) details.retry = retry;
  }
  return details;
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_DETAILS_H_
