// Names of transfer errors: see transport.h.
#include "http/transport.h"

namespace sluiceway::http {

std::string_view transfer_error_name(TransferError error) {
  switch (error) {
    case TransferError::kNone:
      return "none";
    case TransferError::kInvalidRequest:
      return "invalid_request";
    case TransferError::kPoolTimeout:
      return "pool_timeout";
    case TransferError::kResolve:
      return "resolve";
    case TransferError::kConnect:
      return "connect";
    case TransferError::kTls:
      return "tls";
    case TransferError::kProxy:
      return "proxy";
    case TransferError::kSendOrReceive:
      return "send_or_receive";
    case TransferError::kNotRewindable:
      return "not_rewindable";
    case TransferError::kPartialBody:
      return "partial_body";
    case TransferError::kProtocol:
      return "protocol";
    case TransferError::kRefusedStream:
      return "refused_stream";
    case TransferError::kTooLarge:
      return "too_large";
    case TransferError::kBodyChanged:
      return "body_changed";
    case TransferError::kInternal:
      return "internal";
  }
  return "unknown";
}

}  // namespace sluiceway::http
