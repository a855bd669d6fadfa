// The words in which a ledger asks "may these calls be admitted" and gets its answer.
//
// store/ runs the transaction and cost/ holds the arithmetic; neither may see the other, so what
// passes between them is plain data here. A batch is a flat array of scopes (each read once from
// the file), a flat array of indices into it, and one item per call. Invariant that the answer
// keeps: settled + held + in_doubt + amount <= limit in every scope of an admitted call, and a
// refused call changes no scope.
#pragma once

#include <cstdint>
#include <span>

#include "base/money.h"

namespace sluiceway {

// One budget scope as the ledger file has it. kNanousdMax as limit: only counted, never refused.
struct ScopeBalance {
  Nanousd limit = kNanousdMax;
  Nanousd settled = 0;
  Nanousd held = 0;      // open reservations
  Nanousd in_doubt = 0;  // reservations whose end is unknown, at their holds
  bool blocked =
      false;  // a provider billed beyond a hold here; nothing is admitted until it is cleared

  Nanousd taken() const { return saturating_add(saturating_add(settled, held), in_doubt); }
};

struct AdmissionItem {
  Nanousd amount = 0;             // the ceiling, >= 0
  std::uint32_t first_index = 0;  // into the batch's scope_indices
  std::uint32_t index_count = 0;  // 0: no scope, always admitted
};

enum class AdmissionVerdict : std::uint8_t { kAdmitted = 0, kExceeded = 1, kBlocked = 2 };

struct AdmissionResult {
  AdmissionVerdict verdict = AdmissionVerdict::kAdmitted;
  std::uint32_t scope = 0;  // index into scopes of the first that refused
};

// Decides items in their order, updating scopes' `held` for each that is admitted. `out` is as long
// as `items`.
using AdmitFn = void (*)(std::span<ScopeBalance> scopes,
                         std::span<const std::uint32_t> scope_indices,
                         std::span<const AdmissionItem> items, std::span<AdmissionResult> out);

}  // namespace sluiceway
