// Replaying the entries: do balances and holds follow from them (invariant 4)?
//
// Model. Entries come in key order within a segment, so all rows of a call come one after the
// other. For each call: one reservation; then open, in doubt, or ended once. What it contributes is
// added to its balances; at the end balances and holds are compared row by row.
//
// Bounds: O(entries) time; memory: the balances and the holds. Threads: none of its own.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <string>
#include <vector>

#include "store/backend.h"

namespace sluiceway::store {

class Replay {
 public:
  // First what archived segments had posted, and what the file says.
  void add_archived(std::int64_t balance, Nanousd settled);
  void add_hold(const HoldRow& hold);
  // In key order within a segment.
  void add_entry(const EntryRow& row);
  void end_segment() { end_call(); }
  // Last: each balance row of the file, with its limit and name; then finish().
  void add_balance(std::int64_t id, const std::string& name, const ScopeBalance& value);
  VerifyReport finish();

 private:
  struct Sum {
    Nanousd settled = 0, held = 0, in_doubt = 0, overrun = 0;
  };
  struct Call {
    Id id;
    bool reserved = false, doubted = false, ended = false, posted = false;
    int ends = 0;
    Nanousd hold = 0, settled = 0, overrun = 0;
    std::int32_t shrunk_at = -1;
    std::string balances;
  };
  struct Seen {
    HoldRow hold;
    bool found = false;
  };

  void end_call();
  void problem(std::string text);

  Call call_;
  bool in_call_ = false;
  absl::flat_hash_map<std::int64_t, Sum> sums_;
  absl::flat_hash_map<Id, Seen, IdHash> holds_;
  VerifyReport report_;
};

}  // namespace sluiceway::store
