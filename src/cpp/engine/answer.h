// What came back from a provider, read once and then only looked at.
//
// An Answer is immutable after the engine publishes it, so several callers of one flight and the
// cache share it. Text and body are kept once: for a whole answer `text` is read out of `body`, a
// stream has no body. Amounts in nano-dollars.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/money.h"
#include "base/status.h"
#include "base/usage.h"
#include "cache/response_cache.h"
#include "engine/outcomes.h"

namespace sluiceway::engine {

// The provider's own words about an error.
struct ErrorInfo {
  std::string type, code, message;
};

enum class CostSource : std::uint8_t { kNone, kProvider, kTable, kEstimated };

struct Answer final : cache::CachedResponse {
  int status = 0;
  bool cut = false;  // ended by the request's own output maximum
  std::string body, text, reasoning_text, finish_reason, model, response_id;
  std::int64_t created_s = 0;  // the provider's own clock, Unix seconds; 0: not told
  Usage usage;
  bool usage_beyond = false;               // it reports use that the buckets do not hold
  std::optional<std::string> served_tier;  // of the price rows, where the answer names one
  Nanousd cost = -1;                       // settled; -1: not known
  CostSource cost_source = CostSource::kNone;
  std::string price_version;
  std::vector<std::pair<std::string, std::string>> headers;  // only where the route keeps them
};

// One try on the wire, or before it.
struct Attempt {
  int number = 0;
  int status = 0;
  Failure failure = Failure::kNone;
  std::int64_t wait_ns = 0;      // before it: limits, ledger, backoff
  std::int64_t duration_ns = 0;  // from the first byte to the end
  std::string request_id;
};

}  // namespace sluiceway::engine
