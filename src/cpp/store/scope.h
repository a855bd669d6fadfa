// A budget scope as the ledger knows it: its name, its configuration, and a hint of how full it is.
//
// Model. A scope is `kind:key` with at most one limit. Plain scopes ("video:42") live for ever and
// entering one again continues it. A scope with a period is one handle whose instance is found from
// ledger time inside each commit: kind "day", key "", Period::kDay is "day:2026-11-22" today; with
// a key the window follows an at sign ("account:7@2026-11"). A rolling scope is 60 slots of
// rolling_ns / 60; what counts is the running slot and the 60 before it, so the oldest, partly
// outside, is counted whole: never more than the limit in any window of that length.
//
// Threads. Configuration is immutable. The hints are atomics that the ledger's writer stores after
// a commit that touched the scope; they are for refusing early and for display, never for
// admitting. They run out after a second, so that a limit that another process raised is seen.
//
//   auto scope = ledger->open_scope({.kind = "video", .key = "42", .limit = 3'000'000'000});
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/money.h"

namespace sluiceway::store {

struct ScopeConfig {
  std::string kind;              // not empty; no ':' or '@'
  std::string key;               // may be empty for a global scope
  std::optional<Nanousd> limit;  // >= 0; none: only counted
  Period period = Period::kNone;
  std::string time_zone = "UTC";
  std::int64_t rolling_ns = 0;   // > 0: a rolling window of that length (>= 60 s, no period)
  std::string unit = "nanousd";  // or a named credit; units never mix in one scope
  bool replace = false;          // another limit than the stored one replaces it and unblocks
  bool keep = false;             // a stored limit stays, whatever `limit` says: for new scopes only
};

constexpr int kRollingSlots = 60;

class ScopeState;  // the writer's view, see scope_state.h

class Scope {
 public:
  Scope(ScopeConfig config, std::int64_t id, TimeZone zone);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  const ScopeConfig& config() const { return config_; }
  const std::string& name() const { return name_; }  // "kind:key", or "kind" without a key
  std::int64_t id() const { return id_; }            // the row in the ledger's table limits
  const TimeZone& zone() const { return zone_; }

  // As the writer last saw the running instance; zero before its first commit.
  Nanousd settled() const { return settled_.load(std::memory_order_relaxed); }
  Nanousd held() const { return held_.load(std::memory_order_relaxed); }
  Nanousd in_doubt() const { return in_doubt_.load(std::memory_order_relaxed); }
  Nanousd limit() const { return limit_.load(std::memory_order_relaxed); }  // kNanousdMax: none
  bool blocked() const { return blocked_.load(std::memory_order_relaxed); }

  // True where settled money alone leaves no room for `amount`, by a hint that has not run out at
  // monotonic_ns. False means: ask the ledger.
  bool surely_exceeded(Nanousd amount, std::int64_t monotonic_ns) const;

  // For the ledger's writer only.
  ScopeState& state() { return *state_; }
  void store_hint(Nanousd limit, Nanousd settled, Nanousd held, Nanousd in_doubt, bool blocked,
                  std::int64_t until_monotonic_ns);

 private:
  const ScopeConfig config_;
  const std::string name_;
  const std::int64_t id_;
  const TimeZone zone_;
  std::unique_ptr<ScopeState> state_;
  std::atomic<Nanousd> settled_{0}, held_{0}, in_doubt_{0}, limit_;
  std::atomic<bool> blocked_{false};
  std::atomic<std::int64_t> hint_until_ns_{0};
};

}  // namespace sluiceway::store
