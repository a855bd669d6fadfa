// The one table of what may happen to an attempt: may it be sent again, is it billed, what does the
// breaker learn; and which status and which fault of a server leads to which class.
//
// Everything that decides about money or re-sending reads this table: the dispatcher, the Python
// errors, docs/reference/outcomes.md (generated from it) and the tests. A class is named by a
// dialect's rules (registry.toml) on the error body, or by status where no rule matches; see
// classify.h. Source of the rules: docs/internals/call.md, "Retry"; provider facts in registry.toml
// with their links.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace sluiceway::engine {

enum class Failure : std::uint8_t {
  kNone = 0,         // a complete, readable answer
  kUnreached,        // DNS, connect, TLS, proxy: no request byte left
  kPoolTimeout,      // no connection slot in time: no request byte left
  kRateLimited,      // 429 of the throttling kind
  kTooLarge,         // 429 that no wait can cure: the request is larger than the limit
  kNoMoney,          // 429, 402 or 400 that means the account has no money or quota left
  kOverloaded,       // 503 or 529 with the provider's own error body
  kTimeoutRefused,   // 408: the server gave up waiting for the request
  kTooEarly,         // 425
  kConflictRefused,  // 409, where a dialect documents that nothing was executed
  kStreamRefused,    // HTTP/2 says that it has not processed the stream (RFC 9113, 6.8 and 8.7)
  kAuthentication,   // 401
  kPermission,       // 403
  kBadRequest,       // 400, 404, 413, 422 and other 4xx; redirects, which are never followed
  kContentRefused,   // the provider's policy refused the content, unbilled
  kUnbilledError,    // a 5xx whose body is documented as unbilled
  kServerError,      // 500, 502, 504, and 503 or 529 without the provider's own body
  kBroken,           // reset, timeout or cut body after the first request byte
  kInvalidResponse,  // 2xx whose body is not the promised wire format
  kStreamError,      // an error event inside a 200 stream, before the first delta
  kStreamBroken,     // the stream ended without its terminator, or with an error, after the first
                     // delta
  kDeadlineSent,     // a deadline of ours passed after the first request byte
  kDeadlineUnsent,   // a deadline of ours passed before it
  kCancelledSent,    // the caller cancelled after the first request byte
  kCancelledUnsent,  // the caller cancelled before it
  kBodyChanged,      // a file of the request changed after the first request byte: not sent whole
  kBodyUnsent,       // it had changed before it
};
constexpr std::size_t kFailureCount = 27;

// What the reservation becomes. kKeep: it stays as it is, for the job that the call has started; it
// stands in no row of the table.
enum class Books : std::uint8_t { kSettle, kVoid, kInDoubt, kKeep };
enum class BreakerWord : std::uint8_t { kSuccess, kFailure, kIgnored, kAccount };

struct OutcomeRow {
  Failure failure;
  std::string_view name;  // as registry.toml and documents write it
  ErrorKind kind;
  Outcome outcome;
  Books books;
  bool resend;     // may be sent again (same key, same body, same reservation)
  bool throttled;  // back off from the throttle base, and freeze the group for Retry-After
  BreakerWord breaker;
};

const OutcomeRow& outcome_row(Failure failure);
const std::array<OutcomeRow, kFailureCount>& outcome_table();
// What a status means where no rule of a dialect has matched. The first row that fits holds.
enum class ErrorBody : std::uint8_t { kAny, kOwn, kForeign };  // the provider's own error body?
struct StatusRow {
  int low, high;  // both included
  ErrorBody body;
  Failure failure;
};
constexpr std::size_t kStatusRowCount = 11;
const std::array<StatusRow, kStatusRowCount>& status_table();
// `status` is not 2xx; what fits no row is a bad request.
Failure failure_of_status(int status, bool own_body);

// What a fault of a server comes to, on a whole answer and on a stream. The engine does not know
// faults, it sees their traces; so these rows bind it by the tests that play each of them against
// it (sluiceway.simulator.faults, tests/python/simulator/test_fault_server_outcomes.py).
struct FaultRow {
  std::string_view name;
  Failure whole, streamed;
};
constexpr std::size_t kFaultCount = 53;
const std::array<FaultRow, kFaultCount>& fault_table();

// kFailureCount's worth of names; kNone when there is no such name.
Failure failure_by_name(std::string_view name);

}  // namespace sluiceway::engine
