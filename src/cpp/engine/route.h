// A route: everything about a call that does not change from call to call.
//
// One route for each (account, model, operation) that a gateway uses, made once and shared: the
// parsed URL, the headers with the key, the dialect, the price sheet, and the limit group, breakers
// and retry budget that it shares with other routes. Immutable but for those shared parts, which
// lock themselves. Calls keep their route alive.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/ids.h"
#include "cost/price_book.h"
#include "engine/dialect.h"
#include "http/request.h"
#include "limits/circuit_breaker.h"
#include "limits/limit_group.h"
#include "limits/retry_budget.h"
#include "store/ledger.h"

namespace sluiceway::engine {

struct RetryPolicy {
  int attempts = 3;  // in all, the first included
  std::int64_t base_ns = 500'000'000;
  std::int64_t throttle_base_ns = 1'000'000'000;
  std::int64_t cap_ns = 20'000'000'000;
  std::int64_t retry_after_max_ns = 120'000'000'000;
};

// A limit group as the engine drives it: when to look at its queue again.
struct Group {
  std::string name;
  std::shared_ptr<limits::LimitGroup> limits;
  std::int64_t pump_at_ns = INT64_MAX;  // engine thread only
  bool dirty = false;                   // engine thread only: something came back
  std::size_t queued = 0;               // engine thread only: our tickets in its queue
};

struct Route {
  std::string provider, account, model, operation;
  std::shared_ptr<const http::Url> url;
  std::shared_ptr<const http::HeaderSet> headers;
  std::shared_ptr<const http::TlsConfig> tls;
  std::string method = "POST", proxy, unix_socket;
  http::HttpVersion version = http::HttpVersion::kAuto;
  std::int64_t idle_reuse_max_ns = 4'000'000'000;
  std::shared_ptr<const Dialect> dialect;           // null: the answer is passed on unread
  std::shared_ptr<const cost::PriceSheet> sheet;    // null: only with a stated cap, or free
  std::string service_tier, plan, size, quality;    // which rows of the sheet; see cost::Selector
  std::shared_ptr<Group> group;                     // null: no limits
  std::shared_ptr<limits::CircuitBreaker> breaker;  // never null
  std::shared_ptr<limits::CircuitBreaker> account_breaker;  // never null
  std::shared_ptr<limits::RetryBudget> retry_budget;        // never null
  RetryPolicy retry;
  std::shared_ptr<const store::CallLabels> labels;  // for the ledger, tenant "default"
  std::string idempotency_header;                   // the provider documents it; "" for none
  bool free = false;                                // costs nothing and may be executed twice
  bool keep_headers = false;
  bool lenient = false;  // a whole answer counts as one even where the dialect finds nothing in it
  bool own_key = false;  // the call brings the key: a refused one says nothing of the account
  bool send_attempt_header = false;
  bool job = false;  // it starts an async job: a done call keeps its hold until the job has ended
};

}  // namespace sluiceway::engine
