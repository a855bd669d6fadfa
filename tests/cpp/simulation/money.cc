// What is booked beside calls: costs of our own, top-ups, refunds, jobs, archives. See world.h.
#include "simulation/world.h"

#include "base/text.h"

namespace sluiceway::simulation {
namespace {

// What the disk may have done although the answer says otherwise.
bool unknown(const Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
         absl::IsInternal(status) || absl::IsDataLoss(status);
}

}  // namespace

void World::plan_money() {
  for (int i = 0; i < plan_.money; ++i) {
    agenda_.at(draw(0, plan_.span_ns), [this] {
      Process* process = any_up();
      if (process == nullptr || healed_) return;
      switch (draw(0, 5)) {
        case 0:
        case 1:
          return book_one(*process);
        case 2:
          return grant_one(*process);
        case 3:
          return refund_one(*process);
        default:
          return archive();
      }
    });
  }
}

// A cost of our own, admitted like a call, or forced where it has been spent already.
void World::book_one(Process& process) {
  OwnCost cost;
  cost.id = next_id();
  cost.amount = plan_.unit * draw(0, 5);
  cost.forced = chance(25);
  if (chance(80)) cost.scopes.push_back(static_cast<std::size_t>(draw(0, 2)));
  for (std::size_t i = 3; i < plan_.scopes.size(); ++i) {
    if (chance(30)) cost.scopes.push_back(i);
  }
  store::Booking booking;
  booking.call_id = cost.id;
  booking.amount = cost.amount;
  booking.force = cost.forced;
  booking.labels = process.route->labels;
  booking.evidence = "an hour of a machine";
  for (const std::size_t i : cost.scopes) booking.scopes.push_back(process.scopes[i]);
  const std::string name = cost.id.text();
  trace("book " + name + (cost.forced ? " by force" : ""));
  own_costs_[name] = cost;  // before: a crash inside leaves it unknown
  guarded(process, [&] {
    const auto booked = process.engine->ledger().book(std::move(booking));
    OwnCost& known = own_costs_[name];
    if (!booked.ok()) {
      known.state = unknown(booked.status()) ? OwnCost::kUnknown : OwnCost::kRefused;
      if (known.state == OwnCost::kRefused) problem("a booking was called malformed");
      return;
    }
    known.state = booked->admitted ? OwnCost::kBooked : OwnCost::kRefused;
    const ScopeBalance& b = booked->balance;
    if (!booked->admitted &&
        (known.forced ||
         (!b.blocked && b.settled + b.held + b.in_doubt + known.amount <= b.limit))) {
      problem("a booking was refused by " + booked->scope + ", where it fits or was forced");
    }
  });
  if (process.up) process.poked = true;
}

void World::grant_one(Process& process) {
  const auto i = static_cast<std::size_t>(draw(0, static_cast<std::int64_t>(limits_.size()) - 1));
  Nanousd amount = plan_.unit * draw(-6, 8);
  if (amount == 0) amount = plan_.unit;
  trace("grant " + std::to_string(amount / plan_.unit) + " units");
  const Id id = next_id();
  grants_[id.text()] = {i, amount, false};
  guarded(process, [&] {
    const auto limit = process.engine->ledger().grant(id, *process.scopes[i], amount, "a top-up");
    if (limit.ok()) grants_[id.text()].certain = true;
    if (!limit.ok() && !unknown(limit.status())) grants_.erase(id.text());
  });
  if (process.up) process.poked = true;
}

// A provider gives back a part of what a settled call cost: its bill falls, then the books follow.
void World::refund_one(Process& process) {
  for (const auto& [name, truth] : provider_.calls()) {
    const Caller& caller = callers_[caller_of_.at(name)];
    const bool settled = caller.told && caller.ending.kind == ErrorKind::kNone &&
                         caller.ending.held == 0 && truth.bill > 0;
    if (!settled || refunds_.contains(name)) continue;
    const Nanousd amount = draw(1, truth.bill);
    trace("refund " + std::to_string(amount) + " of call " + name);
    refunds_[name] = {amount, false};
    guarded(process, [&] {
      const auto left = process.engine->ledger().refund(
          {.calls = {caller.call_id}, .amount = amount, .evidence = "a credit note"});
      if (left.ok()) {
        refunds_[name].certain = true;
      } else if (!unknown(left.status())) {
        refunds_.erase(name);  // its settlement is not written yet, or its month is archived
      }
    });
    return;
  }
}

// Months that are over go into a file of their own; the audit reads both. A month is over when
// ledger time has left it and nothing of it is open or in doubt.
void World::archive() {
  if (plan_.months) {
    trace("a month passes");
    clock_.jump(32 * kDay);
    for (auto& one : processes_) one->poked = one->up;
  }
  agenda_.at(clock_.true_ns() + 100 * kMs, [this] {
    Process* process = any_up();
    if (process == nullptr || healed_) return;
    trace("archive what is closed");
    const bool post = chance(70);
    guarded(*process, [&] {
      store::Ledger& ledger = process->engine->ledger();
      if (post) (void)ledger.post_in_doubt(0);
      const std::string month =
          window_key(Period::kMonth, ledger.ledger_time_ns(), TimeZone::utc());
      const auto archived = ledger.archive(month, archive_path());
      if (archived.ok() && archived->entries > 0) ++result_.archives;
      if (!archived.ok()) trace("no archive: " + std::string(to_std(archived.status().message())));
    });
  });
}

}  // namespace sluiceway::simulation
