// Errors between rooms, and the four words for what happened to a call on the wire.
//
// Rooms return absl::Status or absl::StatusOr. What a program decides on travels in typed fields
// (Outcome, ErrorKind), never in the message: a message is for people. No exceptions cross a room's
// border. Source of the words: docs/internals/call.md, "Retry".
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string_view>

#include "base/text.h"

namespace sluiceway {

using absl::Status;
using absl::StatusOr;

// What is known about an attempt's execution at the provider. kNeverSent and kRefused are proofs
// that nothing was executed.
enum class Outcome : std::uint8_t { kNeverSent = 0, kRefused = 1, kInDoubt = 2, kDone = 3 };

// Why a call failed. One entry here is one Python exception class (bindings/errors.cc holds the
// map).
enum class ErrorKind : std::uint8_t {
  kNone = 0,
  kInvalidRequest,     // the caller's own mistake, found before anything was sent
  kBudgetExceeded,     // a scope has no room for the ceiling
  kBudgetUnavailable,  // the ledger did not answer in time, or cannot be written
  kLimited,            // our own limiter: the wait would pass the deadline, or the queue is full
  kRequestTooLarge,    // one dimension asks for more than its limit allows in a minute
  kBreakerOpen,        // the breaker of this provider or account is open
  kDeadlineExceeded,   // a deadline of the call passed; the outcome says whether it had been sent
  kCancelled,          // the caller cancelled
  kConnection,         // never reached the provider: DNS, connect, TLS, proxy
  kInDoubt,            // sent, but the end is unknown
  kRateLimited,        // the provider refused: 429 of the throttling kind
  kOverloaded,         // the provider refused: 503 or 529 with its own body
  kNoMoney,            // the provider's account has no money or quota left
  kAuthentication,     // 401
  kPermission,         // 403
  kBadRequest,         // other 4xx
  kProviderError,      // 5xx with a documented unbilled body, or an error inside a stream
  kInvalidResponse,    // 200 whose body is not what the wire format promises
  kStreamBroken,       // the stream ended after its first delta without its terminator
  kAlreadySubmitted,   // the idempotency key was used before: nothing was sent
  kForked,             // the engine belongs to the parent process
  kClosed,             // the gateway was closed
};

std::string_view outcome_name(Outcome outcome);
std::string_view error_kind_name(ErrorKind kind);

inline Status invalid_argument(std::string_view message) {
  return absl::InvalidArgumentError(to_absl(message));
}

}  // namespace sluiceway
