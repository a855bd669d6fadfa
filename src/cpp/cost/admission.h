// The verdict on a batch of reservations: pure arithmetic over balances read from the ledger.
//
// Model. Items are decided in their order. A call is admitted when in every scope of its list
// settled + held + in_doubt + amount <= limit and no scope is blocked; then `held` of each grows by
// the amount. A refused call changes nothing. A scope named twice by one call counts once. A scope
// whose limit is kNanousdMax only counts. Sums saturate, so an overflow can refuse, never admit.
//
// Bounds: O(scopes of the item squared) an item, for the lists of at most a dozen that calls have;
// no allocation. Threads: a pure function. store/ calls it inside the commit, through engine/.
//
//   std::array<ScopeBalance, 1> scopes{{{.limit = 100, .settled = 60}}};
//   admit(scopes, indices, items, out);     // items[0].amount == 41 -> kExceeded, scope 0
//
// Source: docs/internals/call.md, "Money"; base/admission.h holds the words.
#pragma once

#include <cstdint>
#include <span>

#include "base/admission.h"

namespace sluiceway::cost {

// An AdmitFn. `out` is as long as `items`. Malformed items are refused, never admitted: an amount
// below zero, or an index outside its array (kExceeded, scope 0).
void admit(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> scope_indices,
           std::span<const AdmissionItem> items, std::span<AdmissionResult> out);

}  // namespace sluiceway::cost
