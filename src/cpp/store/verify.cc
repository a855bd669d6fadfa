// The replay: see verify.h.
#include "store/verify.h"

#include <absl/strings/str_cat.h>

#include "store/codec.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kProblemsMax = 100;

}  // namespace

void Replay::problem(std::string text) {
  if (report_.problems.size() < kProblemsMax) report_.problems.push_back(std::move(text));
}

void Replay::add_archived(std::int64_t balance, Nanousd settled) {
  sums_[balance].settled += settled;
}

void Replay::add_hold(const HoldRow& hold) { holds_[hold.call_id].hold = hold; }

void Replay::add_entry(const EntryRow& row) {
  if (!in_call_ || call_.id != row.call_id) {
    end_call();
    call_ = Call{};
    call_.id = row.call_id;
    in_call_ = true;
    ++report_.calls;
  }
  ++report_.entries;
  switch (row.kind) {
    case EntryKind::kReserve:
      call_.reserved = true;
      if (call_.shrunk_at < 0) call_.hold = row.amount;
      call_.balances = row.balances;
      break;
    case EntryKind::kSettle:
    case EntryKind::kVoid:
    case EntryKind::kPostFull:
      ++call_.ends;
      call_.ended = true;
      call_.posted = row.kind == EntryKind::kPostFull;
      call_.settled += row.amount;
      if ((row.flags & kOverrun) != 0) call_.overrun = row.amount;
      if (row.kind == EntryKind::kVoid && row.amount != 0) {
        problem(absl::StrCat("call ", row.call_id.text(), ": a void with an amount"));
      }
      break;
    case EntryKind::kInDoubt:
      call_.doubted = true;
      break;
    case EntryKind::kCorrect:
      call_.settled += row.amount;
      break;
    case EntryKind::kShrink:
      if (row.attempt > call_.shrunk_at) {
        call_.shrunk_at = row.attempt;
        call_.hold = row.amount;
      }
      break;
  }
}

void Replay::end_call() {
  if (!in_call_) return;
  in_call_ = false;
  const std::string name = call_.id.text();
  if (!call_.reserved) problem(absl::StrCat("call ", name, ": an end without a reservation"));
  if (call_.ends > 1) problem(absl::StrCat("call ", name, ": ended ", call_.ends, " times"));
  std::vector<std::int64_t> ids;
  if (!decode_balances(call_.balances, ids)) {
    problem(absl::StrCat("call ", name, ": malformed balances"));
  }
  for (const std::int64_t id : ids) {
    Sum& sum = sums_[id];
    if (call_.ended) {
      sum.settled += call_.settled;
      if (call_.overrun > 0) sum.overrun += call_.overrun - call_.hold;
    } else if (call_.doubted) {
      sum.in_doubt += call_.hold;
    } else {
      sum.held += call_.hold;
    }
  }
  const auto it = holds_.find(call_.id);
  if (call_.ended) {
    if (it != holds_.end()) problem(absl::StrCat("call ", name, ": ended, but its hold is there"));
    if (it != holds_.end()) it->second.found = true;
    return;
  }
  ++(call_.doubted ? report_.in_doubt : report_.open);
  if (it == holds_.end()) {
    problem(absl::StrCat("call ", name, ": not ended, but has no hold"));
    return;
  }
  it->second.found = true;
  const HoldRow& hold = it->second.hold;
  if (hold.amount != call_.hold || hold.in_doubt != call_.doubted) {
    problem(absl::StrCat("call ", name, ": the hold says ", hold.amount,
                         hold.in_doubt ? " in doubt" : " open", ", its entries say ", call_.hold,
                         call_.doubted ? " in doubt" : " open"));
  }
  if (hold.balances != call_.balances) {
    problem(absl::StrCat("call ", name, ": the hold counts in other scopes than its reservation"));
  }
}

void Replay::add_balance(std::int64_t id, const std::string& name, const ScopeBalance& value) {
  end_call();
  const auto it = sums_.find(id);
  const Sum sum = it == sums_.end() ? Sum{} : it->second;
  if (it != sums_.end()) sums_.erase(it);
  if (value.settled != sum.settled || value.held != sum.held || value.in_doubt != sum.in_doubt) {
    problem(absl::StrCat("scope ", name, ": the balance is settled ", value.settled, ", held ",
                         value.held, ", in doubt ", value.in_doubt, "; the entries say ",
                         sum.settled, ", ", sum.held, ", ", sum.in_doubt));
  }
  const Nanousd total = sum.settled + sum.held + sum.in_doubt;
  if (value.limit != kNanousdMax && total > value.limit) {
    report_.over_limit.push_back(absl::StrCat(name, " is ", total - value.limit,
                                              " above its limit; overruns explain ", sum.overrun));
  }
}

VerifyReport Replay::finish() {
  end_call();
  for (const auto& [id, sum] : sums_) {
    problem(absl::StrCat("entries name a balance that is not there: ", id));
  }
  for (const auto& [id, seen] : holds_) {
    if (!seen.found) problem(absl::StrCat("the hold of ", id.text(), " has no reservation"));
  }
  return std::move(report_);
}

}  // namespace sluiceway::store
