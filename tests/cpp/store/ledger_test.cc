// The rules of a call's money, on both backends, with a clock that the test moves.
#include "store/ledger.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string_view>

#include "store/faults.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class LedgerTest : public BackendFixture {
 protected:
  LedgerOptions options() override {
    LedgerOptions options = BackendFixture::options();
    options.queue_max = 100;
    return options;
  }
  std::shared_ptr<Scope> scope(const std::string& kind, const std::string& key,
                               std::optional<Nanousd> limit) {
    return BackendFixture::scope({.kind = kind, .key = key, .limit = limit});
  }
  Reservation reservation(std::uint64_t n, Nanousd amount,
                          std::vector<std::shared_ptr<Scope>> scopes) {
    return {.token = n,
            .call_id = make_id(n),
            .intent_id = make_id(n + 100'000),
            .amount = amount,
            .scopes = std::move(scopes),
            .labels = plain_labels(),
            .price_version = "2026-11-01"};
  }
  Verdict ask(Reservation r) {
    const std::uint64_t token = r.token;
    ledger_->reserve(std::move(r));
    ledger_->pump();
    return sink_.wait(token);
  }
  void TearDown() override {
    if (ledger_ != nullptr) expect_books_right();
    BackendFixture::TearDown();
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, LedgerTest, ::testing::Bool(), backend_name);

// What a ledger in memory has not: a file that outlives it.
class LedgerOnFile : public LedgerTest {};
INSTANTIATE_TEST_SUITE_P(Backends, LedgerOnFile, ::testing::Values(true), backend_name);

TEST_P(LedgerTest, ReserveAndSettle) {
  auto video = scope("video", "42", 3'000);
  auto known = ledger_->scopes();  // before anything was asked of it
  ASSERT_EQ(known->size(), 1u);
  EXPECT_EQ(known->front().name, "video:42");
  EXPECT_EQ(known->front().balance.limit, 3'000);
  const Verdict v = ask(reservation(1, 2'000, {video}));
  EXPECT_EQ(v.kind, Verdict::kAdmitted);
  EXPECT_EQ(v.amount, 2'000);
  EXPECT_EQ(v.ledger_time_ns, kSunday);
  expect_balance(*video, 0, 2'000, 0);
  end(1, EntryKind::kSettle, 1'250);
  expect_balance(*video, 1'250, 0, 0);
  EXPECT_EQ(video->held(), 2'000);  // a hint of the last batch that asked the scope
  EXPECT_TRUE(ledger_->holds()->empty());
}

TEST_P(LedgerTest, AllScopesOrNone) {
  auto video = scope("video", "42", 3'000);
  auto day = scope("day", "x", 2'500);
  EXPECT_EQ(ask(reservation(1, 2'000, {video, day})).kind, Verdict::kAdmitted);
  const Verdict refused = ask(reservation(2, 600, {video, day}));
  EXPECT_EQ(refused.kind, Verdict::kExceeded);
  EXPECT_EQ(refused.scope, "day:x");
  EXPECT_EQ(refused.balance.held, 2'000);
  EXPECT_EQ(refused.balance.limit, 2'500);
  expect_balance(*video, 0, 2'000, 0);
  expect_balance(*day, 0, 2'000, 0);
  EXPECT_EQ(ask(reservation(3, 500, {video, day, video})).kind, Verdict::kAdmitted);
  expect_balance(*video, 0, 2'500, 0);
}

TEST_P(LedgerTest, OneBatchAdmitsWhatFits) {
  auto key = scope("key", "k", 450);  // five calls of 100 at once on a limit of 450
  for (std::uint64_t n = 1; n <= 5; ++n) ledger_->reserve(reservation(n, 100, {key}));
  ledger_->pump();
  int admitted = 0;
  for (const auto& [token, v] : sink_.take()) admitted += v.kind == Verdict::kAdmitted;
  EXPECT_EQ(admitted, 4);
  expect_balance(*key, 0, 400, 0);
}

TEST_P(LedgerTest, VoidGivesAllBack) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  end(1, EntryKind::kVoid, 999);
  expect_balance(*video, 0, 0, 0);
}

TEST_P(LedgerTest, DoubtKeepsTheMoneyUntilItIsResolved) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  end(1, EntryKind::kInDoubt);
  expect_balance(*video, 0, 0, 2'000);
  EXPECT_EQ(ask(reservation(2, 1'001, {video})).kind, Verdict::kExceeded);
  end(1, EntryKind::kVoid);  // too late for a void: only evidence ends a doubt
  expect_balance(*video, 0, 0, 2'000);
  EXPECT_EQ(ledger_->resolve(make_id(9), 1, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(ledger_->resolve(make_id(1), 700, "invoice 7").ok());
  expect_balance(*video, 700, 0, 0);
  std::string evidence;
  ASSERT_TRUE(ledger_
                  ->read_entries({},
                                 [&](std::span<const Entry> rows) {
                                   for (const Entry& e : rows) evidence += e.evidence;
                                   return true;
                                 })
                  .ok());
  EXPECT_EQ(evidence, "invoice 7");
  EXPECT_FALSE(ledger_->resolve(make_id(1), 700, "again").ok());
}

TEST_P(LedgerTest, LongDoubtPostsInFullAndIsCorrected) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  end(1, EntryKind::kInDoubt);
  clock_.advance(3'600 * kSecond);
  EXPECT_EQ(*ledger_->post_in_doubt(3'601 * kSecond), 0);
  EXPECT_EQ(*ledger_->post_in_doubt(3'600 * kSecond), 1);
  expect_balance(*video, 2'000, 0, 0);
  EXPECT_TRUE(ledger_->resolve(make_id(1), 1'500, "bill").ok());
  expect_balance(*video, 1'500, 0, 0);
  EXPECT_TRUE(ledger_->resolve(make_id(1), 1'600, "second bill").ok());
  expect_balance(*video, 1'600, 0, 0);
}

TEST_P(LedgerTest, DoubtPostsByItselfAfterSevenDays) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  end(1, EntryKind::kInDoubt);
  clock_.advance(6 * 86'400 * kSecond);
  ledger_->pump();
  expect_balance(*video, 0, 0, 2'000);
  clock_.advance(86'400 * kSecond);
  ledger_->pump();
  expect_balance(*video, 2'000, 0, 0);
}

TEST_P(LedgerTest, OverrunIsRecordedAndBlocks) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 1'000, {video}));
  end(1, EntryKind::kSettle, 1'400);
  expect_balance(*video, 1'400, 0, 0, true);
  EXPECT_EQ(ask(reservation(2, 1, {video})).kind, Verdict::kBlocked);
  EXPECT_EQ(ledger_->stats().overruns, 1u);
  auto again = ledger_->open_scope({.kind = "video", .key = "42", .limit = 3'000, .replace = true});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(ask(reservation(3, 1'600, {*again})).kind, Verdict::kAdmitted);
}

TEST_P(LedgerTest, ShrinkLowersAnOpenHold) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  end(1, EntryKind::kShrink, 1'500);
  expect_balance(*video, 0, 1'500, 0);
  end(1, EntryKind::kShrink, 1'700);  // never up
  expect_balance(*video, 0, 1'500, 0);
  end(1, EntryKind::kInDoubt);
  expect_balance(*video, 0, 0, 1'500);
}

TEST_P(LedgerTest, EndsOnlyOnce) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 1'000, {video}));
  end(1, EntryKind::kSettle, 10);
  end(1, EntryKind::kSettle, 20, 2);
  end(1, EntryKind::kVoid);
  end(77, EntryKind::kSettle, 5);  // never reserved
  expect_balance(*video, 10, 0, 0);
  EXPECT_EQ(ledger_->stats().orphan_finishes, 3u);
}

TEST_P(LedgerTest, ACallIdIsReservedOnce) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 1'000, {video}));
  Reservation twin = reservation(1, 500, {video});
  twin.token = 2;
  const Verdict v = ask(std::move(twin));
  EXPECT_EQ(v.kind, Verdict::kDuplicate);
  EXPECT_EQ(v.earlier_call, make_id(1));
  expect_balance(*video, 0, 1'000, 0);
}

TEST_P(LedgerTest, IdempotencyKeySendsOnce) {
  auto video = scope("video", "42", 3'000);
  const auto keyed = [&](std::uint64_t n) {
    Reservation r = reservation(n, 100, {video});
    r.idempotency_key = "task-1";
    return r;
  };
  EXPECT_EQ(ask(keyed(1)).kind, Verdict::kAdmitted);
  const Verdict second = ask(keyed(2));
  EXPECT_EQ(second.kind, Verdict::kDuplicate);
  EXPECT_EQ(second.earlier_call, make_id(1));
  Reservation hop = keyed(3);  // a fallback of the same call of the user
  hop.intent_id = make_id(100'001);
  EXPECT_EQ(ask(std::move(hop)).kind, Verdict::kAdmitted);
  end(3, EntryKind::kVoid);
  EXPECT_EQ(ask(keyed(4)).kind, Verdict::kDuplicate);
  end(1, EntryKind::kVoid);  // nothing was ever sent
  EXPECT_EQ(ask(keyed(5)).kind, Verdict::kAdmitted);
  end(5, EntryKind::kInDoubt);
  EXPECT_EQ(ask(keyed(6)).kind, Verdict::kDuplicate);
}

TEST_P(LedgerTest, SameKeyTwiceInOneBatch) {
  auto video = scope("video", "42", 150);
  Reservation big = reservation(1, 200, {video}), small = reservation(2, 100, {video}),
              third = reservation(3, 50, {video});
  big.idempotency_key = small.idempotency_key = third.idempotency_key = "k";
  ledger_->reserve(std::move(big));
  ledger_->reserve(std::move(small));
  ledger_->reserve(std::move(third));
  ASSERT_TRUE(ledger_->flush(kSecond).ok());
  EXPECT_EQ(sink_.wait(1).kind, Verdict::kExceeded);  // so the key was not used
  EXPECT_EQ(sink_.wait(2).kind, Verdict::kAdmitted);
  EXPECT_EQ(sink_.wait(3).kind, Verdict::kDuplicate);
}

TEST_P(LedgerTest, ScopesPersistAndConflict) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 1'000, {video}));
  auto other = ledger_->open_scope({.kind = "video", .key = "42", .limit = 4'000});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  auto same = ledger_->open_scope({.kind = "video", .key = "42", .limit = 3'000});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->get(), video.get());
  auto shape = ledger_->open_scope(
      {.kind = "video", .key = "42", .limit = 3'000, .period = Period::kDay, .replace = true});
  EXPECT_EQ(shape.status().code(), absl::StatusCode::kFailedPrecondition);
  auto less = ledger_->open_scope({.kind = "video", .key = "42", .limit = 1'100, .replace = true});
  ASSERT_TRUE(less.ok());
  EXPECT_EQ(ask(reservation(2, 101, {video})).kind, Verdict::kExceeded);
  EXPECT_EQ(ask(reservation(3, 100, {video})).kind, Verdict::kAdmitted);
}

TEST_P(LedgerTest, MalformedScopesAndReservations) {
  for (const ScopeConfig& config : std::vector<ScopeConfig>{
           {.kind = ""},
           {.kind = "a:b"},
           {.kind = "a", .limit = -1},
           {.kind = "a", .time_zone = "Mars/Olympus"},
           {.kind = "a", .rolling_ns = kSecond},
           {.kind = "a", .period = Period::kDay, .rolling_ns = 3'600 * kSecond},
           {.kind = "a", .unit = ""}}) {
    EXPECT_EQ(ledger_->open_scope(config).status().code(), absl::StatusCode::kInvalidArgument);
  }
  auto credits = ledger_->open_scope({.kind = "credits", .limit = 100, .unit = "credit"});
  ASSERT_TRUE(credits.ok());
  const Verdict mixed = ask(reservation(1, 1, {*credits}));
  EXPECT_EQ(mixed.kind, Verdict::kUnavailable);
  EXPECT_EQ(mixed.error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ask(reservation(2, -1, {})).error.code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(LedgerTest, CalendarWindowsFollowLedgerTime) {
  // 06:00 UTC is 16:30 in Adelaide (UTC+10:30 in November), so its day ends 7.5 hours later.
  auto day = ledger_->open_scope(
      {.kind = "day", .limit = 100, .period = Period::kDay, .time_zone = "Australia/Adelaide"});
  ASSERT_TRUE(day.ok()) << day.status();
  EXPECT_EQ(ask(reservation(1, 80, {*day})).kind, Verdict::kAdmitted);
  const Verdict refused = ask(reservation(2, 30, {*day}));
  EXPECT_EQ(refused.scope, "day:2026-11-22");
  clock_.advance((7 * 3'600 + 1'799) * kSecond);
  EXPECT_EQ(ask(reservation(3, 30, {*day})).kind, Verdict::kExceeded);
  clock_.advance(kSecond);
  EXPECT_EQ(ask(reservation(4, 90, {*day})).kind, Verdict::kAdmitted);
  end(1, EntryKind::kSettle, 70);  // into the day in which it was reserved
  expect_balance(**day, 0, 90, 0);
  auto scopes = ledger_->scopes();
  ASSERT_EQ(scopes->size(), 2u);
  EXPECT_EQ((*scopes)[0].name, "day:2026-11-22");
  EXPECT_EQ((*scopes)[0].balance.settled, 70);
  EXPECT_EQ((*scopes)[1].name, "day:2026-11-23");
  EXPECT_FALSE((*day)->surely_exceeded(100, clock_.monotonic_ns()));  // the new day's hint
}

TEST_P(LedgerTest, RollingWindowCountsTheOldestSlotWhole) {
  auto hour = ledger_->open_scope({.kind = "hour", .limit = 100, .rolling_ns = 3'600 * kSecond});
  ASSERT_TRUE(hour.ok());
  clock_.advance(59 * kSecond);  // the end of the slot 06:00
  EXPECT_EQ(ask(reservation(1, 60, {*hour})).kind, Verdict::kAdmitted);
  end(1, EntryKind::kSettle, 60);
  clock_.advance(30 * 60 * kSecond);
  EXPECT_EQ(ask(reservation(2, 41, {*hour})).kind, Verdict::kExceeded);
  EXPECT_EQ(ask(reservation(3, 40, {*hour})).kind, Verdict::kAdmitted);
  expect_balance(**hour, 60, 40, 0);
  clock_.advance(30 * 60 * kSecond);  // 07:00:59: an hour later, and its slot is still counted
  EXPECT_EQ(ask(reservation(4, 1, {*hour})).kind, Verdict::kExceeded);
  clock_.advance(kSecond);  // 07:01:00
  EXPECT_EQ(ask(reservation(5, 60, {*hour})).kind, Verdict::kAdmitted);
  expect_balance(**hour, 0, 100, 0);
}

TEST_P(LedgerTest, ClockStepsDoNotOpenWindows) {
  auto day = ledger_->open_scope({.kind = "day", .limit = 100, .period = Period::kDay});
  ask(reservation(1, 100, {*day}));
  clock_.step_wall(-86'400 * kSecond);  // yesterday
  EXPECT_EQ(ask(reservation(2, 1, {*day})).kind, Verdict::kExceeded);
  clock_.step_wall(366LL * 86'400 * kSecond);  // a year ahead
  clock_.advance(600 * kSecond);
  EXPECT_EQ(ask(reservation(3, 1, {*day})).kind, Verdict::kExceeded);
  EXPECT_LT(ledger_->stats().clock_skew_ns, -364LL * 86'400 * kSecond);
  ASSERT_TRUE(ledger_->reanchor_time().ok());
  EXPECT_EQ(ask(reservation(4, 1, {*day})).kind, Verdict::kAdmitted);
}

TEST_P(LedgerTest, LateReservationsAndFullQueues) {
  auto video = scope("video", "42", 1'000'000);
  Reservation late = reservation(1, 10, {video});
  late.deadline_ns = clock_.monotonic_ns();
  EXPECT_EQ(ask(std::move(late)).error.code(), absl::StatusCode::kDeadlineExceeded);
  for (std::uint64_t n = 2; n < 110; ++n) ledger_->reserve(reservation(n, 10, {video}));
  EXPECT_EQ(ledger_->stats().queue_depth, 100u);
  ledger_->pump();
  int refused = 0;
  for (const auto& [token, v] : sink_.take()) {
    refused +=
        v.kind == Verdict::kUnavailable && v.error.code() == absl::StatusCode::kResourceExhausted;
  }
  EXPECT_EQ(refused, 8);
  expect_balance(*video, 0, 1'000, 0);
}

TEST_P(LedgerTest, HintsRefuseWhereSettledMoneyFills) {
  auto video = scope("video", "42", 100);
  ask(reservation(1, 90, {video}));
  end(1, EntryKind::kSettle, 90);
  EXPECT_FALSE(video->surely_exceeded(11, clock_.monotonic_ns()));  // not seen yet
  EXPECT_EQ(ask(reservation(2, 11, {video})).kind, Verdict::kExceeded);
  EXPECT_TRUE(video->surely_exceeded(11, clock_.monotonic_ns()));
  EXPECT_FALSE(video->surely_exceeded(10, clock_.monotonic_ns()));
  clock_.advance(kSecond);  // a hint runs out: another process may have raised the limit
  EXPECT_FALSE(video->surely_exceeded(11, clock_.monotonic_ns()));
}

TEST_P(LedgerTest, EntriesTellWhatHappened) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  Finish f{.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 1'234};
  f.usage.set(Bucket::kInput, 500);
  f.usage.set(Bucket::kOutput, 7);
  f.usage.reported_cost_nanousd = 1'234;
  f.price_version = "2026-11-20";
  f.provider_request_id = "req_123";
  f.attempts = 2;
  f.latency_ns = 350 * kNsPerMs;
  f.estimated = true;
  ledger_->finish(std::move(f));
  ASSERT_TRUE(ledger_->flush(kSecond).ok());
  std::vector<Entry> rows;
  ASSERT_TRUE(ledger_
                  ->read_entries({.batch = 1},
                                 [&](std::span<const Entry> batch) {
                                   rows.insert(rows.end(), batch.begin(), batch.end());
                                   return true;
                                 })
                  .ok());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].kind, EntryKind::kReserve);
  EXPECT_EQ(rows[0].intent_id, make_id(100'001));
  EXPECT_EQ(rows[0].scopes, std::vector<std::string>{"video:42"});
  EXPECT_EQ(rows[0].price_version, "2026-11-01");
  EXPECT_EQ(*rows[0].labels, *plain_labels());
  EXPECT_EQ(rows[1].kind, EntryKind::kSettle);
  EXPECT_EQ(rows[1].attempt, 2);
  EXPECT_EQ(rows[1].amount, 1'234);
  EXPECT_EQ(rows[1].time_ns, kSunday);
  EXPECT_EQ(rows[1].usage.get(Bucket::kInput), 500);
  EXPECT_EQ(rows[1].usage.get(Bucket::kOutput), 7);
  EXPECT_FALSE(rows[1].usage.has(Bucket::kReasoning));
  EXPECT_EQ(rows[1].usage.reported_cost_nanousd, 1'234);
  EXPECT_EQ(rows[1].price_version, "2026-11-20");
  EXPECT_EQ(rows[1].provider_request_id, "req_123");
  EXPECT_EQ(rows[1].latency_ns, 350 * kNsPerMs);
  EXPECT_TRUE(rows[1].estimated);
}

TEST_P(LedgerTest, ClosingLeavesOpenHoldsInDoubt) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  ask(reservation(2, 300, {video}));
  ledger_->finish({.call_id = make_id(2), .kind = EntryKind::kSettle, .amount = 100});
  ledger_->reserve(reservation(3, 1, {video}));
  ledger_->close();
  EXPECT_EQ(sink_.wait(3).error.code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(ledger_->flush(kSecond).ok());
  if (!GetParam()) {
    ledger_ = nullptr;
    return;
  }
  open();
  video = scope("video", "42", 3'000);
  expect_balance(*video, 100, 0, 2'000);
  auto holds = ledger_->holds();
  ASSERT_EQ(holds->size(), 1u);
  EXPECT_TRUE((*holds)[0].in_doubt);
  EXPECT_EQ((*holds)[0].owner, 0);
}

// Nothing is waiting then, and nothing is written yet either.
TEST_P(LedgerTest, FlushWaitsForWhatAnotherThreadHasInHand) {
  auto video = scope("video", "42", 3'000);
  ask(reservation(1, 2'000, {video}));
  std::future<absl::Status> flushed;
  set_fault_hook([&](const char* label) {
    if (label != std::string_view("batch.before_verdicts") || flushed.valid()) return;
    flushed = std::async(std::launch::async, [&] { return ledger_->flush(60 * kSecond); });
    EXPECT_EQ(flushed.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  });
  ledger_->reserve(reservation(2, 300, {video}));
  ledger_->pump();
  EXPECT_TRUE(flushed.get().ok());
  set_fault_hook(nullptr);
}

TEST_P(LedgerOnFile, JobsOutliveTheirEngine) {
  auto video = scope("video", "42", 3'000);
  Reservation job = reservation(1, 2'000, {video});
  job.job = true;
  ask(std::move(job));
  ledger_->close();
  open();
  video = scope("video", "42", 3'000);
  expect_balance(*video, 0, 2'000, 0);
  end(1, EntryKind::kSettle, 1'900);  // by an engine that never reserved it
  expect_balance(*video, 1'900, 0, 0);
}

}  // namespace
}  // namespace sluiceway::store
