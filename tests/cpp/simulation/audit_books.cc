// The books against the truth: a replay of the entries that shares no code with store/verify.cc.
//
// Invariants 1, 2, 4 and 5 of docs/internals/call.md: every reservation ends at most once (exactly
// once, or in doubt, when all processes are gone); balances, holds and limits follow from the
// entries, those in an archive included, so a refused scope left no trace; no scope and no window
// counts or was billed more than its limit; what the provider executed was reserved before, at no
// less than what it billed.
#include <algorithm>
#include <tuple>

#include "base/text.h"
#include "simulation/world.h"

namespace sluiceway::simulation {

// Of a rolling scope: when a call was reserved, what it cost, and what of that is an overrun.
struct Moment {
  std::int64_t time_ns;
  Nanousd bill, excess;
};

namespace {

constexpr std::int64_t kTokyoNs = 9 * 3'600 * kSecond;
constexpr std::size_t kDayScope = 4, kRollingScope = 6;  // of the plan

std::string usd(Nanousd amount) { return std::to_string(amount); }

// Which window it was reserved in, worked out here: days of UTC or of Tokyo, hours of UTC.
std::int64_t window_of(const std::string& scope, std::int64_t time_ns, bool tokyo) {
  if (scope.starts_with("day:")) return (time_ns + (tokyo ? kTokyoNs : 0)) / kDay;
  if (scope.starts_with("hour:")) return time_ns / (3'600 * kSecond);
  return -1;
}

// The most that lay in one window of the length, beyond the limit and what overruns explain.
Nanousd rolling_excess(std::vector<Moment> moments, std::int64_t length_ns, Nanousd limit) {
  std::sort(moments.begin(), moments.end(),
            [](const Moment& a, const Moment& b) { return a.time_ns < b.time_ns; });
  Nanousd worst = 0, bill = 0, excess = 0;
  for (std::size_t first = 0, last = 0; last < moments.size(); ++last) {
    bill += moments[last].bill;
    excess += moments[last].excess;
    while (moments[last].time_ns - moments[first].time_ns >= length_ns) {
      bill -= moments[first].bill;
      excess -= moments[first++].excess;
    }
    worst = std::max(worst, bill - excess - limit);
  }
  return worst;
}

}  // namespace

struct BookCall {
  Nanousd hold = -1, amount = 0, refunded = 0;
  std::int64_t time_ns = 0;
  std::vector<std::string> scopes;
  int reserves = 0, settles = 0, voids = 0, doubts = 0, posts = 0;
  bool overrun = false;
  int ends() const { return settles + voids + posts; }
  void add(const store::Entry& row);
};

struct Sum {
  Nanousd settled = 0, held = 0, in_doubt = 0;  // by the entries
  Nanousd bill = 0, excess = 0;                 // by the truth
  Nanousd counted() const { return settled + held + in_doubt; }
};

struct Books {
  std::map<std::string, BookCall> calls;
  std::map<std::string, Nanousd> granted;   // by scope without window
  std::map<std::string, Nanousd> replaced;  // what limits were raised by, otherwise than by grants
  std::multimap<std::string, Nanousd> grant_amounts;  // of each, by scope
  std::set<std::string> grants;                       // by id
  std::map<std::string, Sum> sums;                    // by scope with window
  std::map<std::string, std::int64_t> windows;
  std::vector<Moment> rolling;
  std::size_t open = 0;
};

void BookCall::add(const store::Entry& row) {
  switch (row.kind) {
    case store::EntryKind::kReserve:
      ++reserves;
      hold = row.amount;
      time_ns = row.time_ns;
      scopes = row.scopes;
      break;
    case store::EntryKind::kSettle:
      ++settles;
      amount += row.amount;
      overrun = overrun || row.overrun;
      break;
    case store::EntryKind::kVoid:
      ++voids;
      break;
    case store::EntryKind::kInDoubt:
      ++doubts;
      break;
    case store::EntryKind::kPostFull:
      ++posts;
      amount += row.amount;
      break;
    case store::EntryKind::kCorrect:
      amount += row.amount;
      break;
    case store::EntryKind::kRefund:
      refunded += row.amount;
      break;
    default:
      break;
  }
}

// The ledger's entries, and those of the archive; a crash may have left a month in both.
void World::read_books(store::Ledger& ledger, Books& books) {
  std::set<std::tuple<std::string, std::int32_t, store::EntryKind>> known;
  const auto take = [&](std::span<const store::Entry> rows) {
    for (const store::Entry& row : rows) {
      const std::string name = row.call_id.text();
      if (!known.insert({name, row.attempt, row.kind}).second) continue;
      ledger_time_ns_ = std::max(ledger_time_ns_, row.time_ns);
      if (row.kind == store::EntryKind::kReplace && row.scopes.size() == 1) {
        books.replaced[row.scopes.front()] += row.amount;
        continue;
      }
      if (row.kind != store::EntryKind::kGrant) {
        books.calls[name].add(row);
        continue;
      }
      const auto grant = grants_.find(name);
      if (grant == grants_.end() || row.scopes.size() != 1) {
        problem("the books have a grant that nobody made: " + name);
        continue;
      }
      // One whose commit was answered as failed, and was durable, is taken back by a second row.
      const bool back = row.attempt == 1 && !grant->second.certain && books.grants.contains(name);
      if (row.amount != (back ? -grant->second.amount : grant->second.amount)) {
        problem("the books have another amount than was granted: " + name);
      }
      books.granted[row.scopes.front()] += row.amount;
      books.grant_amounts.emplace(row.scopes.front(), row.amount);
      if (back) {
        books.grants.erase(name);
      } else {
        books.grants.insert(name);
      }
    }
    return true;
  };
  if (SimDisk::instance().exists(archive_path().c_str())) {
    const Status read = store::read_archive(archive_path(), {}, take);
    const auto report = store::verify_archive(archive_path());
    if (!read.ok() && !absl::IsInvalidArgument(read)) {  // empty: a crash came before its tables
      problem("the archive cannot be read: " + std::string(to_std(read.message())));
    }
    if (report.ok()) {
      for (const auto& what : report->problems) problem("verify archive: " + what);
    }
  }
  const Status read = ledger.read_entries({}, take);
  if (!read.ok()) problem("the books cannot be read: " + std::string(to_std(read.message())));
}

// Every broken promise about one call.
void World::judge_call(const BookCall& call, const std::string& name, bool final_look) {
  const Caller& caller = callers_[caller_of_.at(name)];
  const Provider::Truth& truth = provider_.of_call(name);
  const auto say = [&](const std::string& what) { problem("call " + name + " " + what); };
  if (call.reserves != 1) say("was reserved " + std::to_string(call.reserves) + " times");
  if (call.hold != caller.order.ceiling) say("holds another amount than its ceiling");
  if (call.ends() > 1) say("ended " + std::to_string(call.ends()) + " times");
  if (call.doubts > 1) say("came in doubt twice");
  if (call.voids > 0 && (truth.executions > 0 || truth.pending > 0)) {
    say("is void, and the provider executes it");
  }
  if (call.settles > 0 && call.amount != truth.bill) {
    say("is settled at " + usd(call.amount) + ", billed " + usd(truth.bill));
  }
  if (call.overrun != (call.settles > 0 && call.amount > call.hold)) {
    say("has a mark of an overrun that its amounts do not explain");
  }
  const auto refund = refunds_.find(name);
  const Nanousd refunded = refund == refunds_.end() ? 0 : refund->second.amount;
  const bool certain = refund != refunds_.end() && refund->second.certain;
  if (call.refunded != refunded && (certain || call.refunded != 0)) {
    say("was refunded " + usd(call.refunded) + ", not " + usd(refunded));
  }
  if (final_look && call.ends() == 0 && call.doubts == 0) say("never ended");
  if (!caller.told) return;
  if (caller.ending.kind == ErrorKind::kBudgetExceeded) {
    say("was refused by a budget, and is in the books");
  }
  // A lost answer of the disk may leave a hold behind, which goes with the next transaction or when
  // the ledger has been idle for a second. A flight goes on without its payer.
  const Process& its = *processes_[static_cast<std::size_t>(caller.process)];
  const bool lives = its.up && its.incarnation == caller.incarnation;
  const bool may_wait = caller.ending.kind == ErrorKind::kBudgetUnavailable && !idle_;
  if (lives && !caller.cached && !may_wait && call.ends() + call.doubts == 0 &&
      its.engine->ledger().stats().finish_depth == 0) {
    say("was told its end, and is open in the books");
  }
}

void World::judge_own_cost(const BookCall& call, const std::string& name) {
  OwnCost& cost = own_costs_.at(name);
  const auto say = [&](const std::string& what) { problem("booking " + name + " " + what); };
  if (cost.state == OwnCost::kRefused) say("was refused, and is in the books");
  cost.state = OwnCost::kBooked;
  if (call.reserves != 1 || call.settles != 1 || call.ends() != 1 || call.doubts != 0) {
    say("is not one reservation and one settlement");
  }
  if (call.amount != cost.amount) say("is of " + usd(call.amount) + ", not " + usd(cost.amount));
  if (call.hold > call.amount || (call.hold < call.amount && !cost.forced)) say("holds too little");
  if (call.overrun != (call.hold < call.amount)) say("has a wrong mark of an overrun");
}

void World::add_to_sums(const BookCall& call, const std::string& name, Nanousd bill, Books& books) {
  const Nanousd excess = std::max<Nanousd>(0, bill - call.hold);
  const bool tokyo = plan_.scopes[kDayScope].time_zone == "Asia/Tokyo";
  for (const std::string& scope : call.scopes) {
    Sum& sum = books.sums[scope];
    sum.bill += bill - call.refunded;
    sum.excess += excess;
    if (call.ends() > 0) {
      sum.settled += call.amount - call.refunded;
    } else {
      (call.doubts > 0 ? sum.in_doubt : sum.held) += call.hold;
    }
    if (scope == "rolling:r") books.rolling.push_back({call.time_ns, bill - call.refunded, excess});
    const std::int64_t window = window_of(scope, call.time_ns, tokyo);
    if (books.windows.emplace(scope, window).first->second != window) {
      std::string what = "call " + name;
      what += " is counted in " + scope + ", and was reserved in another window";
      problem(what);
    }
  }
}

void World::check_books(store::Ledger& ledger, bool final_look) {
  Books books;
  read_books(ledger, books);
  const auto rows = ledger.scopes();
  const auto holds = ledger.holds();
  const auto report = ledger.verify();
  if (!rows.ok() || !holds.ok() || !report.ok()) return problem("the books cannot be read");
  for (const auto& what : report->problems) problem("verify: " + what);
  if (ledger.ledger_time_ns() < ledger_time_ns_) problem("ledger time went back");
  for (const auto& [name, call] : books.calls) {
    books.open += call.ends() == 0 ? 1 : 0;
    if (caller_of_.contains(name)) {
      judge_call(call, name, final_look);
      add_to_sums(call, name, provider_.of_call(name).bill, books);
    } else if (own_costs_.contains(name)) {
      judge_own_cost(call, name);
      add_to_sums(call, name, own_costs_.at(name).amount, books);
    } else {
      return problem("the books have a call that nobody made: " + name);
    }
  }
  for (const auto& [name, truth] : provider_.calls()) {
    if (truth.executions > 0 && !books.calls.contains(name)) {
      problem("call " + name + " was executed without a reservation");
    }
  }
  for (const auto& [name, cost] : own_costs_) {
    if (cost.state == OwnCost::kBooked && !books.calls.contains(name)) {
      problem("booking " + name + " is lost");
    }
  }
  if (holds->size() != books.open) {
    problem(std::to_string(holds->size()) + " holds, " + std::to_string(books.open) +
            " open calls");
  }
  check_grants(books);
  check_scopes(books, *rows);
}

void World::check_grants(const Books& books) {
  for (const auto& [name, grant] : grants_) {
    if (grant.certain && !books.grants.contains(name)) problem("grant " + name + " is lost");
  }
}

// Balances and limits; a rolling scope has a row for each slot.
void World::check_scopes(const Books& books, const std::vector<store::ScopeInfo>& rows) {
  std::map<std::string, Sum> shown;
  std::map<std::string, Nanousd> limits;
  for (const store::ScopeInfo& row : rows) {
    Sum& sum = shown[row.name];
    sum.settled += row.balance.settled;
    sum.held += row.balance.held;
    sum.in_doubt += row.balance.in_doubt;
    limits[row.name] = row.balance.limit;
  }
  std::map<std::string, std::pair<Nanousd, Nanousd>> grants;  // all lowered, all raised
  for (const auto& [scope, amount] : books.grant_amounts) {
    auto& [lowered, raised] = grants[scope];
    (amount < 0 ? lowered : raised) += amount;
  }
  const auto granted = [&](const store::ScopeConfig& config) {
    const auto found =
        books.granted.find(config.kind + (config.key.empty() ? "" : ":" + config.key));
    return found == books.granted.end() ? 0 : found->second;
  };
  for (const auto& [scope, sum] : shown) {
    const auto found = books.sums.find(scope);
    const Sum want = found == books.sums.end() ? Sum{} : found->second;
    if (sum.settled != want.settled || sum.held != want.held || sum.in_doubt != want.in_doubt) {
      problem("scope " + scope + " shows " + usd(sum.settled) + "+" + usd(sum.held) + "+" +
              usd(sum.in_doubt) + ", its entries say " + usd(want.settled) + "+" + usd(want.held) +
              "+" + usd(want.in_doubt));
    }
    // The limit is what was planned, replaced and granted; of a window that is over, what it was
    // then, which lies between the extremes.
    bool known = false;
    for (std::size_t i = 0; i < plan_.scopes.size(); ++i) {
      const store::ScopeConfig& config = plan_.scopes[i];
      const std::string name = config.kind + (config.key.empty() ? "" : ":" + config.key);
      const bool window = config.period != Period::kNone && scope.starts_with(name) &&
                          (scope[name.size()] == ':' || scope[name.size()] == '@');
      if (scope != name && !window) continue;
      const auto replaced = books.replaced.find(name);
      const Nanousd configured =
          *config.limit + (replaced == books.replaced.end() ? 0 : replaced->second);
      if (configured != limits_[i] && configured != maybe_limits_[i]) {
        problem("scope " + name + " has entries of a limit that nobody set");
      }
      const Nanousd lowest = *config.limit + (grants.contains(name) ? grants.at(name).first : 0);
      const Nanousd highest = configured + (grants.contains(name) ? grants.at(name).second : 0);
      known = known || limits[scope] == configured + granted(config) ||
              (window && limits[scope] >= lowest && limits[scope] <= highest);
    }
    if (!known) problem("scope " + scope + " has a limit that its grants do not explain");
    if (scope == "rolling:r") continue;
    if (want.counted() > limits[scope] + want.excess) {
      problem("scope " + scope + " counts " + usd(want.counted()) + ", its limit is " +
              usd(limits[scope]) + ", overruns explain " + usd(want.excess));
    }
    if (want.bill > limits[scope] + want.excess) {
      problem("the provider's bill of " + scope + " is " + usd(want.bill) + ", its limit " +
              usd(limits[scope]) + ", overruns explain " + usd(want.excess));
    }
  }
  Nanousd rolling_limit = std::max(limits_[kRollingScope], maybe_limits_[kRollingScope]);
  for (const auto& [name, grant] : grants_) {
    if (grant.scope == kRollingScope) rolling_limit += std::max<Nanousd>(0, grant.amount);
  }
  const Nanousd beyond =
      rolling_excess(books.rolling, plan_.scopes[kRollingScope].rolling_ns, rolling_limit);
  if (beyond > 0) problem("the bill of a rolling window is " + usd(beyond) + " beyond its limit");
}

}  // namespace sluiceway::simulation
