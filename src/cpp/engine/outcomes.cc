// The table itself: see outcomes.h. One row a class, in the order of the enum.
#include "engine/outcomes.h"

namespace sluiceway::engine {
namespace {

using enum Outcome;
using F = Failure;
using K = ErrorKind;
using B = BreakerWord;

// failure, name, kind, outcome, books, resend, throttled, breaker
constexpr std::array<OutcomeRow, kFailureCount> kTable = {{
    {F::kNone, "none", K::kNone, kDone, Books::kSettle, false, false, B::kSuccess},
    {F::kUnreached, "unreached", K::kConnection, kNeverSent, Books::kVoid, true, false,
     B::kFailure},
    {F::kPoolTimeout, "pool_timeout", K::kDeadlineExceeded, kNeverSent, Books::kVoid, false, false,
     B::kIgnored},
    {F::kRateLimited, "rate_limited", K::kRateLimited, kRefused, Books::kVoid, true, true,
     B::kIgnored},
    {F::kTooLarge, "too_large", K::kRequestTooLarge, kRefused, Books::kVoid, false, false,
     B::kIgnored},
    {F::kNoMoney, "no_money", K::kNoMoney, kRefused, Books::kVoid, false, false, B::kAccount},
    {F::kOverloaded, "overloaded", K::kOverloaded, kRefused, Books::kVoid, true, true, B::kFailure},
    {F::kTimeoutRefused, "timeout_refused", K::kOverloaded, kRefused, Books::kVoid, true, false,
     B::kIgnored},
    {F::kTooEarly, "too_early", K::kOverloaded, kRefused, Books::kVoid, true, false, B::kIgnored},
    {F::kConflictRefused, "conflict_refused", K::kOverloaded, kRefused, Books::kVoid, true, false,
     B::kIgnored},
    {F::kAuthentication, "authentication", K::kAuthentication, kRefused, Books::kVoid, false, false,
     B::kAccount},
    {F::kPermission, "permission", K::kPermission, kRefused, Books::kVoid, false, false,
     B::kAccount},
    {F::kBadRequest, "bad_request", K::kBadRequest, kRefused, Books::kVoid, false, false,
     B::kIgnored},
    {F::kContentRefused, "content_refused", K::kBadRequest, kRefused, Books::kVoid, false, false,
     B::kIgnored},
    {F::kUnbilledError, "unbilled_error", K::kProviderError, kDone, Books::kVoid, false, false,
     B::kFailure},
    {F::kServerError, "server_error", K::kInDoubt, kInDoubt, Books::kInDoubt, false, false,
     B::kFailure},
    {F::kBroken, "broken", K::kInDoubt, kInDoubt, Books::kInDoubt, false, false, B::kFailure},
    {F::kInvalidResponse, "invalid_response", K::kInvalidResponse, kInDoubt, Books::kInDoubt, false,
     false, B::kFailure},
    {F::kStreamError, "stream_error", K::kProviderError, kDone, Books::kInDoubt, false, false,
     B::kFailure},
    {F::kStreamBroken, "stream_broken", K::kStreamBroken, kInDoubt, Books::kInDoubt, false, false,
     B::kFailure},
    {F::kDeadlineSent, "deadline_sent", K::kDeadlineExceeded, kInDoubt, Books::kInDoubt, false,
     false, B::kFailure},
    {F::kDeadlineUnsent, "deadline_unsent", K::kDeadlineExceeded, kNeverSent, Books::kVoid, false,
     false, B::kIgnored},
    {F::kCancelledSent, "cancelled_sent", K::kCancelled, kInDoubt, Books::kInDoubt, false, false,
     B::kIgnored},
    {F::kCancelledUnsent, "cancelled_unsent", K::kCancelled, kNeverSent, Books::kVoid, false, false,
     B::kIgnored},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].failure) != i) return false;
    // What was perhaps executed is never sent again, and only a proof voids.
    if (kTable[i].outcome == kInDoubt && (kTable[i].resend || kTable[i].books == Books::kVoid)) {
      return false;
    }
  }
  return true;
}
static_assert(in_order(), "outcome rows out of order, or a row that re-sends what is in doubt");

}  // namespace

const std::array<OutcomeRow, kFailureCount>& outcome_table() { return kTable; }
const OutcomeRow& outcome_row(Failure failure) { return kTable[static_cast<std::size_t>(failure)]; }

Failure failure_by_name(std::string_view name) {
  for (const auto& row : kTable) {
    if (row.name == name) return row.failure;
  }
  return Failure::kNone;
}

}  // namespace sluiceway::engine
