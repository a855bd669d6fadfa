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
    {F::kStreamRefused, "stream_refused", K::kOverloaded, kRefused, Books::kVoid, true, false,
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
    {F::kBodyChanged, "body_changed", K::kInDoubt, kInDoubt, Books::kInDoubt, false, false,
     B::kIgnored},
    {F::kBodyUnsent, "body_unsent", K::kInvalidRequest, kNeverSent, Books::kVoid, false, false,
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
// RFC 9110, section 15; 529 is Anthropic's "overloaded". A 503 or 529 without the provider's own
// body may come from a proxy behind which the request was executed. 303 points at the result of
// what was executed, and so did 302 for long (15.4.3); 307 and 308 ask for the request again.
constexpr std::array<StatusRow, kStatusRowCount> kStatuses = {{
    {302, 303, ErrorBody::kAny, F::kInvalidResponse},
    {401, 401, ErrorBody::kAny, F::kAuthentication},
    {402, 402, ErrorBody::kAny, F::kNoMoney},
    {403, 403, ErrorBody::kAny, F::kPermission},
    {408, 408, ErrorBody::kAny, F::kTimeoutRefused},
    {425, 425, ErrorBody::kAny, F::kTooEarly},
    {429, 429, ErrorBody::kAny, F::kRateLimited},
    {503, 503, ErrorBody::kOwn, F::kOverloaded},
    {529, 529, ErrorBody::kOwn, F::kOverloaded},
    {500, 999, ErrorBody::kAny, F::kServerError},
    {0, 499, ErrorBody::kAny, F::kBadRequest},
}};

// In the order of sluiceway/simulator/faults/table.py.
constexpr std::array<FaultRow, kFaultCount> kFaults = {{
    {"connect_refused", F::kUnreached, F::kUnreached},
    {"connect_hang", F::kUnreached, F::kUnreached},
    {"slow_accept", F::kNone, F::kNone},
    {"close_at_accept", F::kBroken, F::kBroken},
    {"reset_at_accept", F::kBroken, F::kBroken},
    {"tls_expired", F::kUnreached, F::kUnreached},
    {"tls_wrong_host", F::kUnreached, F::kUnreached},
    {"tls_untrusted", F::kUnreached, F::kUnreached},
    {"tls_not_tls", F::kUnreached, F::kUnreached},
    {"tls_cut", F::kUnreached, F::kUnreached},
    {"tls_reset", F::kUnreached, F::kUnreached},
    {"tls_stall", F::kUnreached, F::kUnreached},
    {"none", F::kNone, F::kNone},
    {"drop_before", F::kBroken, F::kBroken},
    {"drop_after", F::kBroken, F::kBroken},
    {"reset_before", F::kBroken, F::kBroken},
    {"reset_after", F::kBroken, F::kBroken},
    {"stall_before", F::kDeadlineSent, F::kDeadlineSent},
    {"stall_after", F::kDeadlineSent, F::kDeadlineSent},
    {"cut_head", F::kInvalidResponse, F::kBroken},
    {"reset_head", F::kBroken, F::kBroken},
    {"cut_body", F::kBroken, F::kStreamBroken},
    {"cut_chunked", F::kBroken, F::kStreamBroken},
    {"cut_no_length", F::kInvalidResponse, F::kStreamBroken},
    {"no_length", F::kNone, F::kNone},
    {"reset_body", F::kBroken, F::kStreamBroken},
    {"stall_body", F::kDeadlineSent, F::kDeadlineSent},
    {"drip", F::kNone, F::kNone},
    {"bad_chunk", F::kBroken, F::kBroken},
    {"huge_chunk", F::kBroken, F::kBroken},
    {"bad_length", F::kBroken, F::kBroken},
    {"two_lengths", F::kInvalidResponse, F::kInvalidResponse},
    {"not_http", F::kBroken, F::kBroken},
    {"nul_header", F::kBroken, F::kBroken},
    {"huge_headers", F::kBroken, F::kBroken},
    {"interim", F::kNone, F::kNone},
    {"endless_interim", F::kBroken, F::kBroken},
    {"endless_body", F::kBroken, F::kInvalidResponse},
    {"extra_answer", F::kNone, F::kNone},
    {"zip_bomb", F::kBroken, F::kInvalidResponse},
    {"not_json", F::kInvalidResponse, F::kInvalidResponse},
    {"redirect", F::kBadRequest, F::kBadRequest},
    {"rst_internal", F::kBroken, F::kBroken},
    {"rst_cancel", F::kBroken, F::kBroken},
    {"rst_no_error", F::kBroken, F::kBroken},
    {"rst_calm", F::kBroken, F::kBroken},
    {"rst_http11", F::kBroken, F::kBroken},
    {"rst_refused", F::kStreamRefused, F::kStreamRefused},
    {"rst_body", F::kBroken, F::kStreamBroken},
    {"goaway_below", F::kStreamRefused, F::kStreamRefused},
    {"goaway_above", F::kNone, F::kNone},
    {"goaway_drop", F::kBroken, F::kBroken},
    {"bad_frame", F::kBroken, F::kBroken},
}};

static_assert(in_order(), "outcome rows out of order, or a row that re-sends what is in doubt");

}  // namespace

const std::array<OutcomeRow, kFailureCount>& outcome_table() { return kTable; }
const OutcomeRow& outcome_row(Failure failure) { return kTable[static_cast<std::size_t>(failure)]; }

const std::array<StatusRow, kStatusRowCount>& status_table() { return kStatuses; }
const std::array<FaultRow, kFaultCount>& fault_table() { return kFaults; }

Failure failure_of_status(int status, bool own_body) {
  for (const auto& row : kStatuses) {
    const bool fits = row.body == ErrorBody::kAny || (row.body == ErrorBody::kOwn) == own_body;
    if (status >= row.low && status <= row.high && fits) return row.failure;
  }
  return Failure::kBadRequest;
}

Failure failure_by_name(std::string_view name) {
  for (const auto& row : kTable) {
    if (row.name == name) return row.failure;
  }
  return Failure::kNone;
}

}  // namespace sluiceway::engine
