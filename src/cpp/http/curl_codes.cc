// CURLcode to TransferError: see curl_codes.h. Source: libcurl-errors(3), read 2026-11-22.
#include "http/curl_codes.h"

#include <curl/curl.h>

namespace sluiceway::http {

TransferError transfer_error_of(int curl_code, bool request_started, bool resolved) {
  switch (static_cast<CURLcode>(curl_code)) {
    case CURLE_OK:
      return TransferError::kNone;
    case CURLE_COULDNT_RESOLVE_HOST:
      return TransferError::kResolve;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
      return TransferError::kConnect;
    case CURLE_OPERATION_TIMEDOUT:  // only the connect's time-out is the library's
      if (request_started) return TransferError::kSendOrReceive;
      return resolved ? TransferError::kConnect : TransferError::kResolve;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
      return TransferError::kProxy;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
      return TransferError::kTls;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
      return TransferError::kInvalidRequest;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
      return request_started ? TransferError::kSendOrReceive : TransferError::kConnect;
    case CURLE_SEND_FAIL_REWIND:
      return TransferError::kNotRewindable;
    case CURLE_PARTIAL_FILE:
      return TransferError::kPartialBody;
    case CURLE_UNSUPPORTED_PROTOCOL:  // also said of an answer that is not HTTP/1
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_HTTP3:
    case CURLE_QUIC_CONNECT_ERROR:
      return TransferError::kProtocol;
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_TOO_LARGE:
      return TransferError::kTooLarge;
    default:
      return TransferError::kInternal;
  }
}

}  // namespace sluiceway::http
