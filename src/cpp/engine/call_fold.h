// A call's ledger rows folded into what they say together.
//
// Model. Rows of a call come one after the other, in any order among themselves: add() each, and
// take() the call when the next one begins. Settlement, post_full and corrections add up to the
// cost, refunds lower it; without an end the call is in doubt or open, at its hold. Rows that are
// no call's (a grant to a scope) yield nothing.
//
// Bounds: O(1) a row, no allocation. Threads: none.
//
//   CallFold fold;
//   for (const store::Entry& row : rows) {
//     if (fold.begins_another(row.call_id)) use(fold.take());
//     fold.add(row);
//   }
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "base/usage.h"
#include "cost/rollup.h"
#include "store/ledger.h"

namespace sluiceway::engine {

// One call as its money stands now.
struct FoldedCall {
  Id id;
  bool reserved = false;  // false: its reservation is not among the rows
  cost::CallState state = cost::CallState::kOpen;
  bool estimated = false, posted = false, overrun = false;
  Nanousd hold = 0;  // the reservation, or what the last shrink left
  Nanousd cost = 0;  // settled, posted: with corrections, less refunds
  Nanousd refunds = 0;
  std::int64_t reserved_ns = 0, booked_ns = 0;  // ledger time
  std::int64_t latency_ns = 0;                  // of the settlement; 0: not known
  Usage usage;
};

class CallFold {
 public:
  bool begins_another(const Id& id) const { return any_ && id != call_.id; }
  bool any() const { return any_; }
  void add(const store::Entry& row);
  const FoldedCall& call() const { return call_; }
  void clear() {
    any_ = false;
    shrunk_at_ = -1;
    call_ = FoldedCall{};
  }

 private:
  void end(cost::CallState state, const store::Entry& row);

  bool any_ = false;
  std::int32_t shrunk_at_ = -1;  // the attempt of the last shrink; the reservation's is 0
  FoldedCall call_;
};

}  // namespace sluiceway::engine
