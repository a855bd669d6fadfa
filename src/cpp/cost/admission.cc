// Deciding a batch of reservations: see admission.h.
#include "cost/admission.h"

#include <algorithm>
#include <cstddef>

namespace sluiceway::cost {
namespace {

bool well_formed(const AdmissionItem& item, std::span<const std::uint32_t> indices,
                 std::size_t scope_count) {
  if (item.amount < 0) return false;
  const std::uint64_t end = std::uint64_t{item.first_index} + item.index_count;
  if (item.index_count == 0) return true;
  if (end > indices.size()) return false;
  const auto own = indices.subspan(item.first_index, item.index_count);
  return std::ranges::all_of(own, [&](std::uint32_t i) { return i < scope_count; });
}

bool fits(const ScopeBalance& scope, Nanousd amount) {
  if (scope.limit == kNanousdMax) return true;
  // A saturated sum can only be too small when the true one is beyond int64, and then beyond any
  // limit too; kNanousdMax itself is above every limit that reaches this line.
  return saturating_add(scope.taken(), amount) <= scope.limit;
}

AdmissionResult decide(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> own,
                       Nanousd amount) {
  for (const std::uint32_t i : own) {
    if (scopes[i].blocked) return {AdmissionVerdict::kBlocked, i};
    if (!fits(scopes[i], amount)) return {AdmissionVerdict::kExceeded, i};
  }
  for (std::size_t k = 0; k < own.size(); ++k) {
    const auto before = own.first(k);
    if (std::ranges::find(before, own[k]) != before.end()) continue;  // named twice: held once
    scopes[own[k]].held = saturating_add(scopes[own[k]].held, amount);
  }
  return {};
}

}  // namespace

void admit(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> scope_indices,
           std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  const std::size_t count = std::min(items.size(), out.size());
  for (std::size_t n = 0; n < count; ++n) {
    const AdmissionItem& item = items[n];
    if (!well_formed(item, scope_indices, scopes.size())) {
      out[n] = {AdmissionVerdict::kExceeded, 0};
      continue;
    }
    const auto own = item.index_count == 0
                         ? std::span<const std::uint32_t>{}
                         : scope_indices.subspan(item.first_index, item.index_count);
    out[n] = decide(scopes, own, item.amount);
  }
}

}  // namespace sluiceway::cost
