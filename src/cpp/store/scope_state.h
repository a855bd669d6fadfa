// The writer's own view of scopes: balance rows it has read, and which of them a scope uses now.
//
// Model. A BalanceRow is one row of the table balances, cached while the file's data version stays
// what it was (`epoch`). A ScopeState says which rows stand for a scope at ledger time `now`: one
// for a plain or calendar scope, up to 61 slots for a rolling one. Only the writer touches these,
// under the core's commit mutex.
//
// Slots of a rolling scope that are older than its window and hold nothing are folded into the
// scope's anchor row and dropped, so that a scope keeps at most 2 * kRollingSlots + 1 of them.
// Entries therefore name a slot by the anchor's number and the slot, never by the slot's own row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/admission.h"

namespace sluiceway::store {

// The slot of a rolling scope's anchor: what its dropped slots had settled.
constexpr std::int64_t kAnchorSlot = -2;

struct BalanceRow {
  std::int64_t id = 0;
  std::int64_t scope_id = 0;
  std::int64_t slot = -1;   // rolling scopes: ledger time divided by the slot's length
  std::int64_t anchor = 0;  // of a slot: the row that entries name together with the slot
  std::string window;       // calendar scopes: the window's key
  ScopeBalance value;       // as in the file, plus what the running batch changed
  std::uint64_t epoch = 0;  // of the batch writer, when it was read
  bool dirty = false;
};

class ScopeState {
 public:
  std::uint64_t generation = 0;         // of the batch writer; another one: find the rows again
  std::uint64_t epoch = 0;              // rolling: when the slots were listed
  std::int64_t window_end_ns = 0;       // the rows stand until here
  std::int64_t anchor = 0;              // rolling: the anchor row's number
  std::shared_ptr<BalanceRow> current;  // what a reservation is added to
  std::vector<std::shared_ptr<BalanceRow>> earlier;  // rolling: older slots that count, by age
  std::uint64_t stamp = 0;                           // of the batch that last used it
  std::uint32_t index = 0;                           // in that batch's scopes
};

// "video:42", "day:2026-11-22", "account:7@2026-11", "all".
std::string scope_name(std::string_view kind, std::string_view key, std::string_view window);
// For people: "$1.50" of nano-dollars, "2.25 credit" of another unit's thousandths.
std::string amount_text(Nanousd amount, std::string_view unit);

}  // namespace sluiceway::store
