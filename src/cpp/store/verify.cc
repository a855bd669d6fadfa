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

void Replay::add_archived(std::int64_t balance, Nanousd settled, Nanousd overrun) {
  sums_[balance] += Sum{settled, 0, 0, overrun};
}

void Replay::add_archived_grant(std::int64_t scope, Nanousd granted) { grants_[scope] += granted; }

void Replay::add_hold(const HoldRow& hold) { holds_[hold.call_id] = hold; }

void Replay::add_entry(const EntryRow& row) {
  if (!in_call_ || call_.id != row.call_id) {
    end_call();
    call_ = Call{};
    call_.id = row.call_id;
    in_call_ = true;
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
    case EntryKind::kRefund:
      call_.refunded += row.amount;
      if (row.balances.empty()) {
        call_.settled -= row.amount;
      } else {
        call_.apart.emplace_back(row.balances, row.amount);
      }
      break;
    case EntryKind::kGrant:
      call_.grant = true;
      call_.granted += row.amount;
      call_.balances = row.balances;
      break;
    case EntryKind::kReplace:  // what was configured, which the scope's row says
      call_.grant = true;
      call_.balances = row.balances;
      break;
  }
}

void Replay::end_call() {
  if (!in_call_) return;
  in_call_ = false;
  const std::string name = call_.id.text();
  if (call_.grant) return end_grant(name);
  ++report_.calls;
  if (!call_.reserved) problem(absl::StrCat("call ", name, ": an end without a reservation"));
  if (call_.ends > 1) problem(absl::StrCat("call ", name, ": ended ", call_.ends, " times"));
  if (call_.refunded < 0) problem(absl::StrCat("call ", name, ": refunds of ", call_.refunded));
  Nanousd cost = call_.settled;
  for (const auto& [balances, amount] : call_.apart) {
    cost -= amount;
    if (!decode_balances(balances, refs_)) {
      problem(absl::StrCat("call ", name, ": malformed balances of a refund"));
    }
    for (const BalanceRef& ref : refs_) {
      (ref.slot < 0 ? sums_[ref.id] : rolling_[ref.id].slots[ref.slot]).settled -= amount;
    }
  }
  if (cost < 0) problem(absl::StrCat("call ", name, ": costs ", cost));
  if (!decode_balances(call_.balances, refs_)) {
    problem(absl::StrCat("call ", name, ": malformed balances"));
  }
  for (const BalanceRef& ref : refs_) {
    Sum& sum = ref.slot < 0 ? sums_[ref.id] : rolling_[ref.id].slots[ref.slot];
    if (call_.ended) {
      sum.settled += call_.settled;
      if (call_.overrun > 0) sum.overrun += call_.overrun - call_.hold;
    } else if (call_.doubted) {
      sum.in_doubt += call_.hold;
    } else {
      sum.held += call_.hold;
    }
  }
  if (!call_.ended) {
    open_calls_[call_.id] = {call_.hold, call_.doubted, std::move(call_.balances)};
  }
}

void Replay::merge(Replay&& part) {
  end_call();
  part.end_call();
  for (const auto& [id, sum] : part.sums_) sums_[id] += sum;
  for (const auto& [anchor, scope] : part.rolling_) {
    for (const auto& [slot, sum] : scope.slots) rolling_[anchor].slots[slot] += sum;
  }
  for (const auto& [scope, granted] : part.grants_) grants_[scope] += granted;
  open_calls_.merge(part.open_calls_);
  report_.entries += part.report_.entries;
  report_.calls += part.report_.calls;
  for (std::string& text : part.report_.problems) problem(std::move(text));
}

// Every open call has its hold, and every hold its open call.
void Replay::check_holds() {
  for (const auto& [id, call] : open_calls_) {
    ++(call.doubted ? report_.in_doubt : report_.open);
    const auto it = holds_.find(id);
    if (it == holds_.end()) {
      if (!quarantined_.contains(id)) {
        problem(absl::StrCat("call ", id.text(), ": not ended, but has no hold"));
      }
      continue;
    }
    const HoldRow& hold = it->second;
    if (hold.amount != call.hold || hold.in_doubt != call.doubted) {
      problem(absl::StrCat("call ", id.text(), ": the hold says ", hold.amount,
                           hold.in_doubt ? " in doubt" : " open", ", its entries say ", call.hold,
                           call.doubted ? " in doubt" : " open"));
    }
    if (hold.balances != call.balances) {
      problem(absl::StrCat("call ", id.text(),
                           ": the hold counts in other scopes than its reservation"));
    }
    holds_.erase(it);
  }
  for (const auto& [id, hold] : holds_) {
    problem(absl::StrCat("the hold of ", id.text(), " has no call that is open"));
  }
}

void Replay::end_grant(const std::string& name) {
  if (call_.reserved || call_.ended || !decode_balances(call_.balances, refs_) ||
      refs_.size() != 1) {
    return problem(absl::StrCat("grant ", name, ": malformed"));
  }
  grants_[refs_.front().id] += call_.granted;
}

void Replay::add_limit(std::int64_t scope, const std::string& name, Nanousd granted) {
  end_call();
  const auto it = grants_.find(scope);
  const Nanousd sum = it == grants_.end() ? 0 : it->second;
  if (it != grants_.end()) grants_.erase(it);
  if (sum == granted) return;
  problem(absl::StrCat("scope ", name, ": its limit has grants of ", granted, "; the entries say ",
                       sum));
}

Replay::Sum& Replay::Sum::operator+=(const Sum& other) {
  settled += other.settled;
  held += other.held;
  in_doubt += other.in_doubt;
  overrun += other.overrun;
  return *this;
}

void Replay::add_quarantined(const Id& call, std::string_view reason) {
  quarantined_.emplace(call, reason);
}

void Replay::add_balance(const Balance& row) {
  end_call();
  const ScopeBalance& value = row.value;
  Sum sum;
  if (const auto it = sums_.find(row.id); it != sums_.end()) {
    sum = it->second;
    sums_.erase(it);
  }
  if (row.slot >= 0) {
    if (const auto it = rolling_.find(row.anchor); it != rolling_.end()) {
      sum += it->second.slots[row.slot];
      it->second.slots.erase(row.slot);
    }
    present_[row.anchor].slots[row.slot] = sum;
  } else if (row.slot == kAnchorSlot) {  // the slots that are not there any more
    if (const auto it = rolling_.find(row.id); it != rolling_.end()) {
      for (const auto& [slot, left] : it->second.slots) sum += left;
      rolling_.erase(it);
    }
    Rolling& scope = present_[row.id];
    scope.name = row.name;
    scope.limit = value.limit;
  }
  if (value.settled != sum.settled || value.held != sum.held || value.in_doubt != sum.in_doubt) {
    problem(absl::StrCat("scope ", row.name, ": the balance is settled ", value.settled, ", held ",
                         value.held, ", in doubt ", value.in_doubt, "; the entries say ",
                         sum.settled, ", ", sum.held, ", ", sum.in_doubt));
  }
  if (row.slot == -1 && value.limit != kNanousdMax && sum.counted() > value.limit) {
    report_.over_limit.push_back(absl::StrCat(row.name, " is ", sum.counted() - value.limit,
                                              " above its limit; overruns explain ", sum.overrun));
  }
}

// The fullest window of kRollingSlots + 1 slots among those that are there.
void Replay::check_rolling(const Rolling& scope) {
  if (scope.limit == kNanousdMax) return;
  Nanousd worst = 0, explained = 0;
  Sum window;
  auto first = scope.slots.begin();
  for (auto last = first; last != scope.slots.end(); ++last) {
    window += last->second;
    for (; last->first - first->first > kRollingSlots; ++first) {
      const Sum& gone = first->second;
      window += Sum{-gone.settled, -gone.held, -gone.in_doubt, -gone.overrun};
    }
    if (window.counted() - scope.limit <= worst) continue;
    worst = window.counted() - scope.limit;
    explained = window.overrun;
  }
  if (worst == 0) return;
  report_.over_limit.push_back(
      absl::StrCat(scope.name, " is ", worst, " above its limit; overruns explain ", explained));
}

VerifyReport Replay::finish() {
  end_call();
  for (const auto& [anchor, scope] : present_) check_rolling(scope);
  for (const auto& [anchor, scope] : rolling_) {
    if (!scope.slots.empty()) {
      problem(absl::StrCat("entries name a rolling scope that is not there: ", anchor));
    }
  }
  for (const auto& [id, reason] : quarantined_) {
    problem(absl::StrCat("the hold of ", id.text(), " was taken aside: ", reason));
  }
  for (const auto& [id, sum] : sums_) {
    problem(absl::StrCat("entries name a balance that is not there: ", id));
  }
  for (const auto& [scope, sum] : grants_) {
    problem(absl::StrCat("grants name a scope that is not there: ", scope));
  }
  check_holds();
  return std::move(report_);
}

StatusOr<MonthSums> Replay::month_sums() {
  end_call();
  MonthSums out;
  const auto add = [&](const BalanceRef& ref, const Sum& sum) {
    if (sum.held != 0 || sum.in_doubt != 0) problem("a call has not ended");
    out.posted[ref] = {sum.settled, sum.overrun};
  };
  for (const auto& [id, sum] : sums_) add({id}, sum);
  for (const auto& [anchor, scope] : rolling_) {
    for (const auto& [slot, sum] : scope.slots) add({anchor, slot}, sum);
  }
  for (const auto& [scope, sum] : grants_) out.granted[scope] = sum;
  if (!open_calls_.empty()) problem("a call has not ended");
  if (!report_.problems.empty()) return absl::DataLossError(report_.problems.front());
  return out;
}

}  // namespace sluiceway::store
