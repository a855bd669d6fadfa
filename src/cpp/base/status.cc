// Names of outcomes and error kinds, as logs, rows and results show them.
#include "base/status.h"

namespace sluiceway {

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNeverSent:
      return "never_sent";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kInDoubt:
      return "in_doubt";
    case Outcome::kDone:
      return "done";
  }
  return "unknown";
}

std::string_view error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNone:
      return "none";
    case ErrorKind::kInvalidRequest:
      return "invalid_request";
    case ErrorKind::kBudgetExceeded:
      return "budget_exceeded";
    case ErrorKind::kBudgetUnavailable:
      return "budget_unavailable";
    case ErrorKind::kLimited:
      return "limited";
    case ErrorKind::kRequestTooLarge:
      return "request_too_large";
    case ErrorKind::kBreakerOpen:
      return "breaker_open";
    case ErrorKind::kDeadlineExceeded:
      return "deadline_exceeded";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kConnection:
      return "connection";
    case ErrorKind::kInDoubt:
      return "in_doubt";
    case ErrorKind::kRateLimited:
      return "rate_limited";
    case ErrorKind::kOverloaded:
      return "overloaded";
    case ErrorKind::kNoMoney:
      return "no_money";
    case ErrorKind::kAuthentication:
      return "authentication";
    case ErrorKind::kPermission:
      return "permission";
    case ErrorKind::kBadRequest:
      return "bad_request";
    case ErrorKind::kProviderError:
      return "provider_error";
    case ErrorKind::kInvalidResponse:
      return "invalid_response";
    case ErrorKind::kStreamBroken:
      return "stream_broken";
    case ErrorKind::kAlreadySubmitted:
      return "already_submitted";
    case ErrorKind::kForked:
      return "forked";
    case ErrorKind::kClosed:
      return "closed";
  }
  return "unknown";
}

}  // namespace sluiceway
