// Seeded random operations on both backends at once, against a model that has no caches, no
// transactions and no batches: a list of calls, summed up anew for each question.
#include <gtest/gtest.h>
#include <set>

#include "base/random.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

struct ModelCall {
  std::vector<std::string> scopes;  // with windows
  Nanousd hold = 0, settled = 0;
  enum { kOpen, kInDoubt, kEnded } state = kOpen;
};

class Model {
 public:
  ScopeBalance balance(const std::string& scope) const {
    ScopeBalance b;
    for (const auto& [id, call] : calls) {
      if (std::find(call.scopes.begin(), call.scopes.end(), scope) == call.scopes.end()) continue;
      if (call.state == ModelCall::kOpen) b.held += call.hold;
      if (call.state == ModelCall::kInDoubt) b.in_doubt += call.hold;
      b.settled += call.settled;
    }
    b.blocked = blocked.contains(scope);
    return b;
  }
  Verdict::Kind reserve(std::uint64_t n, Nanousd amount, std::vector<std::string> scopes,
                        const std::vector<Nanousd>& limits) {
    for (std::size_t i = 0; i < scopes.size(); ++i) {
      const ScopeBalance b = balance(scopes[i]);
      if (b.blocked) return Verdict::kBlocked;
      if (b.settled + b.held + b.in_doubt + amount > limits[i]) return Verdict::kExceeded;
    }
    calls[n] = {.scopes = std::move(scopes), .hold = amount};
    return Verdict::kAdmitted;
  }
  std::map<std::uint64_t, ModelCall> calls;
  std::set<std::string> blocked;
  std::set<std::uint64_t> shrunk;  // once an attempt
};

struct Side {
  KeepingSink sink;
  std::shared_ptr<Ledger> ledger;
  std::vector<std::shared_ptr<Scope>> scopes;
};

class ModelTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  static constexpr Nanousd kLimits[4] = {20'000, 9'000, 6'000, 12'000};

  void open(Side& side, bool file) {
    auto ledger = open_ledger({.path = file ? directory_.file() : ":memory:",
                               .durability = Durability::kProcess,
                               .admit = &plain_admit,
                               .clock = &clock_,
                               .threaded = false,
                               .batch_max = 5},
                              &side.sink);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    side.ledger = *ledger;
    side.scopes.clear();
    for (int i = 0; i < 4; ++i) {
      auto scope = side.ledger->open_scope(config(i));
      ASSERT_TRUE(scope.ok()) << scope.status();
      side.scopes.push_back(*scope);
    }
  }
  static ScopeConfig config(int i) {
    ScopeConfig config{.kind = "s" + std::to_string(i), .limit = kLimits[i]};
    if (i == 3) config.period = Period::kHour;
    return config;
  }
  // Of the scope as it is now; the clock of the test never steps, so ledger time is wall time.
  std::string name(int i) const {
    if (i != 3) return "s" + std::to_string(i);
    const std::int64_t hour = (clock_.wall_ns() - kSunday) / (3'600 * kSecond);
    return "s3@" + std::to_string(hour);
  }
  void both(const std::function<void(Side&)>& action) {
    action(memory_);
    action(file_);
  }
  void check() {
    for (int i = 0; i < 4; ++i) {
      const ScopeBalance want = model_.balance(name(i));
      both([&](Side& side) {
        auto got = side.ledger->balance(*side.scopes[static_cast<std::size_t>(i)]);
        ASSERT_TRUE(got.ok());
        EXPECT_EQ(got->settled, want.settled) << name(i);
        EXPECT_EQ(got->held, want.held) << name(i);
        EXPECT_EQ(got->in_doubt, want.in_doubt) << name(i);
        EXPECT_EQ(got->blocked, want.blocked) << name(i);
      });
    }
  }
  // A burst of reservations, of which the ledger makes batches.
  void reserve_burst(int step) {
    std::map<std::uint64_t, Verdict::Kind> expected;
    const std::int64_t burst = random_.uniform(7);
    for (std::int64_t b = 0; b <= burst; ++b) {
      const std::uint64_t n = next_++;
      const std::uint64_t token =
          10'000 * static_cast<std::uint64_t>(step + 1) + static_cast<std::uint64_t>(b);
      const Nanousd amount = random_.uniform(1'500);
      std::vector<std::string> names;
      std::vector<Nanousd> limits;
      std::vector<std::size_t> chosen;
      for (std::size_t i = 0; i < 4; ++i) {
        if (random_.uniform(1) == 0) continue;
        chosen.push_back(i);
        names.push_back(name(static_cast<int>(i)));
        limits.push_back(kLimits[i]);
      }
      both([&](Side& side) {
        Reservation r{
            .token = token, .call_id = make_id(n), .amount = amount, .labels = plain_labels()};
        for (const std::size_t i : chosen) r.scopes.push_back(side.scopes[i]);
        side.ledger->reserve(std::move(r));
      });
      expected[token] = model_.reserve(n, amount, names, limits);
    }
    both([&](Side& side) {
      ASSERT_TRUE(side.ledger->flush(kSecond).ok());
      const auto verdicts = side.sink.take();
      ASSERT_EQ(verdicts.size(), expected.size());
      for (const auto& [token, v] : verdicts) EXPECT_EQ(v.kind, expected[token]) << token;
    });
  }

  void end_one() {
    const std::uint64_t n =
        1 + static_cast<std::uint64_t>(random_.uniform(static_cast<std::int64_t>(next_ - 2)));
    const EntryKind kinds[] = {EntryKind::kSettle, EntryKind::kSettle, EntryKind::kVoid,
                               EntryKind::kInDoubt, EntryKind::kShrink};
    const EntryKind kind = kinds[random_.uniform(4)];
    const bool over = random_.uniform(60) == 0;
    const auto it = model_.calls.find(n);
    const Nanousd hold = it == model_.calls.end() ? 100 : it->second.hold;
    const Nanousd amount = over ? hold + 1 : random_.uniform(hold);
    both([&](Side& side) {
      side.ledger->finish({.call_id = make_id(n), .kind = kind, .amount = amount});
    });
    if (it != model_.calls.end() && it->second.state != ModelCall::kEnded) {
      ModelCall& call = it->second;
      const bool open = call.state == ModelCall::kOpen;
      if (kind == EntryKind::kSettle) {
        call.settled = amount;
        if (amount > call.hold) model_.blocked.insert(call.scopes.begin(), call.scopes.end());
        call.state = ModelCall::kEnded;
      } else if (kind == EntryKind::kVoid && open) {
        call.state = ModelCall::kEnded;
      } else if (kind == EntryKind::kInDoubt && open) {
        call.state = ModelCall::kInDoubt;
      } else if (kind == EntryKind::kShrink && open && amount < call.hold &&
                 model_.shrunk.insert(n).second) {
        call.hold = amount;
      }
    }
    both([&](Side& side) { ASSERT_TRUE(side.ledger->flush(kSecond).ok()); });
  }

  void unblock_one() {
    const int i = static_cast<int>(random_.uniform(3));
    ScopeConfig unblock = config(i);
    unblock.replace = true;
    both([&](Side& side) { ASSERT_TRUE(side.ledger->open_scope(unblock).ok()); });
    std::erase_if(model_.blocked, [&](const std::string& scope) {
      return scope == name(i) || (i == 3 && scope.starts_with("s3@"));
    });
  }

  // The next start: what is open becomes in doubt.
  void restart() {
    file_.ledger->close();
    open(file_, true);
    for (auto& [n, call] : model_.calls) {
      if (call.state == ModelCall::kOpen) call.state = ModelCall::kInDoubt;
      if (call.state == ModelCall::kInDoubt) {
        memory_.ledger->finish({.call_id = make_id(n), .kind = EntryKind::kInDoubt});
      }
    }
    ASSERT_TRUE(memory_.ledger->flush(kSecond).ok());
  }

  SeededRandom random_{GetParam()};
  Model model_;
  std::uint64_t next_ = 1;
  ScratchDirectory directory_;
  ManualClock clock_{1'000 * kSecond, kSunday};
  Side memory_, file_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range<std::uint64_t>(1, 13));

TEST_P(ModelTest, BothBackendsDoWhatTheModelDoes) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  open(memory_, false);
  open(file_, true);
  for (int step = 0; step < 400 && !HasFailure(); ++step) {
    const std::int64_t what = random_.uniform(99);
    if (what < 45) {
      reserve_burst(step);
    } else if (what < 85 && next_ > 1) {
      end_one();
    } else if (what < 90) {
      clock_.advance(random_.uniform(1'200) * kSecond);
    } else if (what < 94) {
      unblock_one();
    } else if (what < 97) {
      restart();
    }
    check();
    both([&](Side& side) {
      auto report = side.ledger->verify();
      ASSERT_TRUE(report.ok());
      for (const auto& p : report->problems) ADD_FAILURE() << p;
    });
  }
  both([&](Side& side) { side.ledger->close(); });
}

}  // namespace
}  // namespace sluiceway::store
