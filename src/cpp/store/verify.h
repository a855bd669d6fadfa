// Replaying the entries: do balances and holds follow from them (invariant 4)?
//
// Model. Entries come in key order within a segment, so all rows of a call come one after the
// other. For each call: one reservation; then open, in doubt, or ended once. What it contributes is
// added to its balances; at the end balances and holds are compared row by row, and so is what was
// granted to each scope. Entries may be replayed in parts, whole calls each, which are merged: so
// that a part whose calls have changed since can be replayed again.
//
// Bounds: O(entries) time; memory: the balances of each part, the holds and the open calls.
// Threads: none of its own.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/backend.h"
#include "store/codec.h"

namespace sluiceway::store {

class Replay {
 public:
  // First what archived segments had posted, and what the file says.
  void add_archived(std::int64_t balance, Nanousd settled, Nanousd overrun);
  void add_archived_grant(std::int64_t scope, Nanousd granted);
  void add_hold(const HoldRow& hold);
  // In key order within a segment.
  void add_entry(const EntryRow& row);
  void end_segment() { end_call(); }
  // Other entries, of other calls, that have been replayed by themselves.
  void merge(Replay&& part);
  void add_quarantined(const Id& call, std::string_view reason);
  void problem(std::string text);
  // Last: each balance row of the file, a rolling scope's anchor after its slots; then finish().
  struct Balance {
    std::int64_t id = 0;
    std::int64_t slot = -1;
    std::int64_t anchor = 0;  // of a slot
    std::string name;
    ScopeBalance value;  // with the scope's limit
  };
  void add_balance(const Balance& row);
  // And each scope, with what its row says was granted.
  void add_limit(std::int64_t scope, const std::string& name, Nanousd granted);
  VerifyReport finish();
  // Instead of balances and finish(): what the entries add up to, where all their calls have ended.
  // DataLoss: one has not, or a problem was found.
  StatusOr<MonthSums> month_sums();

 private:
  struct Sum {
    Nanousd settled = 0, held = 0, in_doubt = 0, overrun = 0;
    Sum& operator+=(const Sum& other);
    Nanousd counted() const { return settled + held + in_doubt; }
  };
  struct Rolling {
    std::string name;
    Nanousd limit = kNanousdMax;
    std::map<std::int64_t, Sum> slots;
  };
  struct Call {
    Id id;
    bool reserved = false, doubted = false, ended = false, posted = false, grant = false;
    int ends = 0;
    Nanousd hold = 0, settled = 0, overrun = 0, granted = 0, refunded = 0;
    std::int32_t shrunk_at = -1;
    std::string balances;
    std::vector<std::pair<std::string, Nanousd>> apart;  // refunds in some of the balances
  };
  struct OpenCall {
    Nanousd hold = 0;
    bool doubted = false;
    std::string balances;
  };

  void end_call();
  void end_grant(const std::string& name);
  void check_rolling(const Rolling& scope);
  void check_holds();

  Call call_;
  bool in_call_ = false;
  absl::flat_hash_map<std::int64_t, Sum> sums_;
  absl::flat_hash_map<std::int64_t, Rolling> rolling_;  // by anchor; slots not yet compared
  absl::flat_hash_map<std::int64_t, Rolling> present_;  // by anchor; slots of the file
  absl::flat_hash_map<Id, std::string, IdHash> quarantined_;
  std::vector<BalanceRef> refs_;
  absl::flat_hash_map<std::int64_t, Nanousd> grants_;  // by scope
  absl::flat_hash_map<Id, HoldRow, IdHash> holds_;
  absl::flat_hash_map<Id, OpenCall, IdHash> open_calls_;
  VerifyReport report_;
};

}  // namespace sluiceway::store
