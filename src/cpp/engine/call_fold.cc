// Rows into a call: see call_fold.h.
#include "engine/call_fold.h"

namespace sluiceway::engine {

// An end stands over doubt, whichever row comes first.
void CallFold::end(cost::CallState state, const store::Entry& row) {
  call_.state = state;
  call_.booked_ns = row.time_ns;
  call_.estimated = row.estimated;
  call_.overrun = row.overrun;
  if (row.usage.any()) call_.usage = row.usage;
}

void CallFold::add(const store::Entry& row) {
  any_ = true;
  call_.id = row.call_id;
  const bool ended =
      call_.state == cost::CallState::kSettled || call_.state == cost::CallState::kVoided;
  switch (row.kind) {
    case store::EntryKind::kReserve:
      call_.reserved = true;
      call_.reserved_ns = row.time_ns;
      if (call_.state == cost::CallState::kOpen) call_.booked_ns = row.time_ns;
      if (shrunk_at_ < 0) call_.hold = row.amount;
      break;
    case store::EntryKind::kSettle:
      end(cost::CallState::kSettled, row);
      call_.cost = saturating_add(call_.cost, row.amount);
      call_.latency_ns = row.latency_ns;
      break;
    case store::EntryKind::kPostFull:
      end(cost::CallState::kSettled, row);
      call_.posted = true;
      call_.cost = saturating_add(call_.cost, row.amount);
      break;
    case store::EntryKind::kVoid:
      end(cost::CallState::kVoided, row);
      break;
    case store::EntryKind::kInDoubt:
      if (ended) break;
      call_.state = cost::CallState::kInDoubt;
      call_.booked_ns = row.time_ns;
      if (row.usage.any()) call_.usage = row.usage;
      break;
    case store::EntryKind::kCorrect:
      call_.cost = saturating_add(call_.cost, row.amount);
      break;
    case store::EntryKind::kRefund:
      call_.cost = saturating_add(call_.cost, -row.amount);
      call_.refunds = saturating_add(call_.refunds, row.amount);
      break;
    case store::EntryKind::kShrink:
      if (row.attempt <= shrunk_at_) break;
      shrunk_at_ = row.attempt;
      call_.hold = row.amount;
      break;
    case store::EntryKind::kGrant:
    case store::EntryKind::kReplace:
      break;
  }
}

}  // namespace sluiceway::engine
