// Bookings, grants, refunds and jobs on both backends; amounts are small, sums are done by hand.
#include <gtest/gtest.h>

#include "store/run_sql.h"
#include "store/scope_state.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class BookingTest : public BackendFixture {
 protected:
  StatusOr<Booked> book(std::uint64_t n, Nanousd amount, std::vector<std::shared_ptr<Scope>> scopes,
                        bool force = false) {
    return ledger_->book({.call_id = make_id(n),
                          .amount = amount,
                          .scopes = std::move(scopes),
                          .labels = plain_labels(),
                          .evidence = "meter",
                          .force = force});
  }
  void TearDown() override {
    expect_books_right();
    BackendFixture::TearDown();
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, BookingTest, ::testing::Bool(), backend_name);

// What a ledger in memory has not: a file that outlives it.
class BookingOnFile : public BookingTest {};
INSTANTIATE_TEST_SUITE_P(Backends, BookingOnFile, ::testing::Values(true), backend_name);

TEST_P(BookingTest, CountsBesideCallsInTheirWindows) {
  auto day = scope({.kind = "day", .limit = 100, .period = Period::kDay});
  auto hour = scope({.kind = "hour", .limit = 100, .rolling_ns = 3'600 * kSecond});
  EXPECT_EQ(ask(1, 50, {day, hour}), Verdict::kAdmitted);
  EXPECT_TRUE(book(2, 50, {day, hour, day})->admitted);  // named twice counts once
  EXPECT_FALSE(book(3, 1, {day})->admitted);
  EXPECT_EQ(ask(4, 1, {hour}), Verdict::kExceeded);
  expect_balance(*day, 50, 50, 0);
  clock_.advance(86'400 * kSecond);
  EXPECT_TRUE(book(5, 100, {day, hour})->admitted);
  expect_balance(*day, 100, 0, 0);
  EXPECT_EQ(book(6, 0, {})->balance.settled, 0);  // no scope: counted by its labels only
}

// 100 for the 22nd; raised to 300 on the 23rd, lowered to 200 by a grant; on the 24th 250, then
// none. What a day was closed with is what it is shown against, and each change is an entry.
TEST_P(BookingTest, AWindowThatIsOverKeepsTheLimitOfItsTime) {
  ScopeConfig config{.kind = "day", .limit = 100, .period = Period::kDay};
  auto day = scope(config);
  const auto limits = [&] {
    std::vector<Nanousd> out;
    const auto rows = ledger_->scopes();
    for (const ScopeInfo& row : *rows) out.push_back(row.balance.limit);
    return out;
  };
  using Limits = std::vector<Nanousd>;
  ASSERT_TRUE(book(1, 50, {day})->admitted);
  clock_.advance(86'400 * kSecond);
  ASSERT_TRUE(book(2, 10, {day})->admitted);
  config.replace = true;
  config.limit = 300;
  day = scope(config);
  EXPECT_EQ(limits(), (Limits{100, 300}));
  scope(config);  // the same again is no change
  ASSERT_EQ(*ledger_->grant(make_id(90), *day, -100, "less"), 200);
  EXPECT_EQ(limits(), (Limits{100, 200}));
  clock_.advance(86'400 * kSecond);
  ASSERT_TRUE(book(3, 200, {day})->admitted);
  EXPECT_EQ(limits(), (Limits{100, 200, 200}));
  ASSERT_EQ(*ledger_->grant(make_id(91), *day, 50, "more"), 250);
  EXPECT_EQ(limits(), (Limits{100, 200, 250}));
  config.limit.reset();
  scope(config);
  EXPECT_EQ(limits(), (Limits{100, 200, kNanousdMax}));
  std::vector<Entry> replaced;
  ASSERT_TRUE(ledger_
                  ->read_entries({},
                                 [&](std::span<const Entry> rows) {
                                   for (const Entry& row : rows) {
                                     if (row.kind == EntryKind::kReplace) replaced.push_back(row);
                                   }
                                   return true;
                                 })
                  .ok());
  ASSERT_EQ(replaced.size(), 2u);
  EXPECT_EQ(replaced[0].amount, 200);
  EXPECT_EQ(replaced[0].evidence, "the configured limit was 100 and is 300");
  EXPECT_EQ(replaced[0].scopes, std::vector<std::string>{"day"});
  EXPECT_EQ(replaced[1].amount, kNanousdMax - 300);
  EXPECT_EQ(replaced[1].time_ns, kSunday + 2 * 86'400 * kSecond);
}

TEST_P(BookingTest, AnIdIsBookedOnce) {
  auto video = scope({.kind = "video", .key = "42", .limit = 100});
  EXPECT_TRUE(book(1, 10, {video})->admitted);
  EXPECT_EQ(book(1, 10, {video}).status().code(), absl::StatusCode::kFailedPrecondition);
  expect_balance(*video, 10, 0, 0);
  EXPECT_EQ(ask(2, 10, {video}), Verdict::kAdmitted);
  EXPECT_EQ(book(2, 10, {video}).status().code(), absl::StatusCode::kFailedPrecondition);
  expect_balance(*video, 10, 10, 0);
}

// Two scopes of 100 and 60 with 50 used: 30 more leave the first within, the second 20 above.
TEST_P(BookingTest, AForcedOneIsAnOverrunOfExactlyTheExcess) {
  auto video = scope({.kind = "video", .key = "42", .limit = 100});
  auto day = scope({.kind = "day", .limit = 60});
  ASSERT_TRUE(book(1, 50, {video, day})->admitted);
  auto booked = book(2, 30, {video, day}, true);
  ASSERT_TRUE(booked.ok()) << booked.status();
  EXPECT_TRUE(booked->admitted && booked->overrun);
  expect_balance(*video, 80, 0, 0);
  expect_balance(*day, 80, 0, 0, true);
  EXPECT_EQ(ledger_->verify()->over_limit,
            std::vector<std::string>{"day is 20 above its limit; overruns explain 20"});
  ledger_->pump();
  EXPECT_EQ(ledger_->stats().overruns, 1u);
  EXPECT_EQ(ask(3, 0, {day}), Verdict::kBlocked);
  EXPECT_EQ(ask(4, 20, {video}), Verdict::kAdmitted);
  auto within = book(5, 0, {day}, true);  // forced where it is full already
  EXPECT_TRUE(within->admitted && !within->overrun);
}

TEST_P(BookingTest, GrantsMoveTheLimitOfRunningAndLaterCalls) {
  auto account = scope({.kind = "account", .key = "7", .limit = 100, .period = Period::kMonth});
  ASSERT_EQ(ask(1, 90, {account}), Verdict::kAdmitted);
  EXPECT_EQ(ask(2, 20, {account}), Verdict::kExceeded);
  EXPECT_EQ(*ledger_->grant(make_id(100), *account, 10, "payment"), 110);
  EXPECT_EQ(ask(3, 20, {account}), Verdict::kAdmitted);
  // 110 is held: nothing can be taken away, and more not either.
  EXPECT_EQ(ledger_->grant(make_id(101), *account, -1, "x").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ledger_->grant(make_id(100), *account, 5, "again").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ledger_->balance(*account)->limit, 110);
  EXPECT_EQ(account->limit(), 110);
  clock_.advance(31 * 86'400 * kSecond);  // the next month has it too
  EXPECT_EQ(ask(4, 110, {account}), Verdict::kAdmitted);
}

TEST_P(BookingTest, ALimitIsItsConfigurationAndItsGrants) {
  auto account = scope({.kind = "account", .key = "7", .limit = 100});
  ASSERT_TRUE(ledger_->grant(make_id(100), *account, 50, "payment").ok());
  EXPECT_EQ(ledger_->balance(*scope({.kind = "account", .key = "7", .limit = 100}))->limit, 150);
  auto other = ledger_->open_scope({.kind = "account", .key = "7", .limit = 150});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  auto replaced = scope({.kind = "account", .key = "7", .limit = 20, .replace = true});
  EXPECT_EQ(ledger_->balance(*replaced)->limit, 70);
  auto big = ledger_->open_scope(
      {.kind = "account", .key = "7", .limit = kNanousdMax - 1, .replace = true});
  EXPECT_EQ(big.status().code(), absl::StatusCode::kInvalidArgument);
}

// 10 a month and 12 beside: 15 are 10 and 5, 8 more do not fit and leave both as they were, 7 do.
TEST_P(BookingTest, AnAllowancePaysFirst) {
  const auto id = [](std::uint64_t n) { return make_id(n, 1); };  // ends in a 0 bit
  auto month = scope({.kind = "month", .limit = 10, .period = Period::kMonth});
  auto purse = scope({.kind = "purse", .limit = 12});
  const auto take = [&](std::uint64_t n, Nanousd amount, std::string key = "", bool force = false) {
    return ledger_->book({.call_id = id(n),
                          .amount = amount,
                          .scopes = {purse},
                          .allowance = month,
                          .labels = plain_labels(),
                          .idempotency_key = std::move(key),
                          .any_scopes = true,
                          .force = force});
  };
  const auto parts = [](const StatusOr<Booked>& booked) {
    std::vector<std::pair<Id, Nanousd>> out;
    for (const Booked::Part& part : booked->parts) out.emplace_back(part.call_id, part.amount);
    return out;
  };
  using Parts = std::vector<std::pair<Id, Nanousd>>;
  EXPECT_EQ(parts(take(2, 15, "a")), (Parts{{id(2), 10}, {second_part(id(2)), 5}}));
  expect_balance(*month, 10, 0, 0);
  expect_balance(*purse, 5, 0, 0);
  auto again = take(4, 15, "a");
  EXPECT_TRUE(again->duplicate && again->same);
  EXPECT_EQ(parts(again), (Parts{{id(2), 10}, {second_part(id(2)), 5}}));
  again = take(4, 16, "a");
  EXPECT_TRUE(again->duplicate && !again->same);
  EXPECT_FALSE(take(6, 8, "b")->admitted);
  expect_balance(*purse, 5, 0, 0);
  EXPECT_EQ(parts(take(6, 7, "b")), (Parts{{id(6), 7}}));
  clock_.advance(40 * 86'400 * kSecond);
  EXPECT_EQ(parts(take(8, 10)), (Parts{{id(8), 10}}));  // the next month's
  EXPECT_EQ(parts(take(10, 3, "", true)), (Parts{{id(10), 3}}));
  expect_balance(*month, 10, 0, 0);
  expect_balance(*purse, 15, 0, 0, true);
  // Given back from the first that is named, in one commit, as far as it goes.
  const auto give_back = [&](Nanousd amount, std::vector<std::string> within = {}) {
    return ledger_->refund({.calls = {second_part(id(2)), id(2)},
                            .within = std::move(within),
                            .amount = amount,
                            .evidence = "credit note"});
  };
  EXPECT_EQ(give_back(1, {"purse"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*give_back(6, {"purse", "month"}), 9);
  expect_balance(*purse, 10, 0, 0, true);
  EXPECT_EQ(give_back(10).status().message(), "9");
  EXPECT_EQ(*give_back(9), 0);
  EXPECT_TRUE(take(12, 15, "a")->same);  // whatever was given back
  const Booking odd{.call_id = second_part(id(14)), .scopes = {purse}, .allowance = month};
  EXPECT_EQ(ledger_->book(Booking(odd)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(AmountText, IsForPeople) {
  EXPECT_EQ(amount_text(0, "nanousd"), "$0.00");
  EXPECT_EQ(amount_text(1'500'000'000, "nanousd"), "$1.50");
  EXPECT_EQ(amount_text(1, "nanousd"), "$0.000000001");
  EXPECT_EQ(amount_text(-49'000'000'000, "nanousd"), "-$49.00");
  EXPECT_EQ(amount_text(5'000, "credit"), "5 credit");
  EXPECT_EQ(amount_text(-2'250, "credit"), "-2.25 credit");
}

TEST_P(BookingTest, AGrantsKeyIsForOneAmount) {
  auto purse = scope({.kind = "purse", .limit = 0});
  EXPECT_EQ(*ledger_->grant(make_id(1), *purse, 7, "payment", "in"), 7);
  EXPECT_EQ(*ledger_->grant(make_id(2), *purse, 7, "payment", "in"), 7);
  EXPECT_EQ(ledger_->grant(make_id(3), *purse, 8, "payment", "in").status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(BookingTest, RefundsGoToTheWindowOfTheReservation) {
  auto day = scope({.kind = "day", .limit = 100, .period = Period::kDay});
  ASSERT_EQ(ask(1, 80, {day}), Verdict::kAdmitted);
  EXPECT_EQ(ledger_->refund({.calls = {make_id(1)}, .amount = 1, .evidence = "x"}).status().code(),
            absl::StatusCode::kFailedPrecondition);  // it has not ended
  settle(1, 60);
  clock_.advance(86'400 * kSecond);
  ASSERT_TRUE(book(2, 5, {day})->admitted);
  EXPECT_EQ(*ledger_->refund({.calls = {make_id(1)}, .amount = 40, .evidence = "credit note"}), 20);
  EXPECT_EQ(ledger_->refund({.calls = {make_id(1)}, .amount = 21, .evidence = "x"}).status().code(),
            absl::StatusCode::kOutOfRange);
  expect_balance(*day, 5, 0, 0);
  auto scopes = *ledger_->scopes();
  ASSERT_EQ(scopes.size(), 2u);
  EXPECT_EQ(scopes[0].balance.settled, 20);
}

TEST_P(BookingTest, ARefundWithinAScopeLeavesTheOthersAlone) {
  auto wallet = scope({.kind = "wallet", .key = "7", .limit = 100});
  auto day = scope({.kind = "day", .limit = 100, .period = Period::kDay});
  auto hour = scope({.kind = "hour", .limit = 100, .rolling_ns = 3600 * kSecond});
  ASSERT_EQ(ask(1, 80, {wallet, day, hour}), Verdict::kAdmitted);
  settle(1, 60);
  const Refund some{.calls = {make_id(1)}, .within = {"wallet:7"}, .amount = 25, .evidence = "bad"};
  EXPECT_EQ(*ledger_->refund(some), 35);
  expect_balance(*wallet, 35, 0, 0);
  expect_balance(*day, 60, 0, 0);
  expect_balance(*hour, 60, 0, 0);
  // What is left to be given back is the call's, wherever it was given back.
  EXPECT_EQ(*ledger_->refund({.calls = {make_id(1)}, .amount = 30, .evidence = "all"}), 5);
  expect_balance(*wallet, 5, 0, 0);
  expect_balance(*day, 30, 0, 0);
  EXPECT_EQ(ledger_->refund({.calls = {make_id(1)}, .amount = 6, .evidence = "x"}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(ledger_->verify()->problems.empty());
}

TEST_P(BookingTest, ARefundWithAKeyIsMadeOnce) {
  auto wallet = scope({.kind = "wallet", .key = "7", .limit = 100});
  ASSERT_TRUE(book(1, 60, {wallet})->admitted);
  Refund back{.calls = {make_id(1)}, .amount = 20, .evidence = "bad", .idempotency_key = "k"};
  back.id = make_id(50);
  EXPECT_EQ(*ledger_->refund(back), 40);
  back.id = make_id(51);
  EXPECT_EQ(*ledger_->refund(back), 40);  // again: nothing happens
  expect_balance(*wallet, 40, 0, 0);
  back.amount = 21;
  EXPECT_EQ(ledger_->refund(back).status().code(), absl::StatusCode::kAlreadyExists);
  back.idempotency_key = "another";
  EXPECT_EQ(*ledger_->refund(back), 19);
  expect_balance(*wallet, 19, 0, 0);
}

TEST_P(BookingTest, ACorrectionIsNotBelowTheRefunds) {
  auto video = scope({.kind = "video", .key = "42", .limit = 100});
  ask(1, 80, {video});
  end(1, EntryKind::kInDoubt);
  ASSERT_EQ(*ledger_->post_in_doubt(0), 1);
  EXPECT_EQ(*ledger_->refund({.calls = {make_id(1)}, .amount = 30, .evidence = "credit note"}), 50);
  EXPECT_EQ(ledger_->resolve(make_id(1), 29, "bill").code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(ledger_->resolve(make_id(1), 70, "bill").ok());  // 70 billed, 30 given back
  expect_balance(*video, 40, 0, 0);
}

TEST_P(BookingTest, AJobEndsWithItsHoldInOneCommit) {
  auto video = scope({.kind = "video", .key = "42", .limit = 1'000});
  ASSERT_EQ(ask(1, 800, {video}), Verdict::kAdmitted);
  ASSERT_TRUE(ledger_
                  ->create_job({.call_id = make_id(1),
                                .provider = "fal",
                                .account = "main",
                                .tenant = "acme",
                                .key_id = "k1",
                                .provider_job_id = "job-1",
                                .state = "running"})
                  .ok());
  EXPECT_EQ(ledger_->holds()->front().owner, 0);
  EXPECT_EQ((*ledger_->find_job(make_id(1)))->created_ns, kSunday);
  ledger_->pump();
  const std::uint64_t commits = ledger_->stats().commits;
  ASSERT_TRUE(ledger_
                  ->update_job({.call_id = make_id(1),
                                .state = "done",
                                .settle = 750,
                                .price_version = "openai/gpt-x@7"})
                  .ok());
  ledger_->pump();
  std::string priced_by;
  ASSERT_TRUE(ledger_
                  ->read_entries({},
                                 [&](std::span<const Entry> rows) {
                                   for (const Entry& row : rows) {
                                     if (row.kind == EntryKind::kSettle)
                                       priced_by = row.price_version;
                                   }
                                   return true;
                                 })
                  .ok());
  EXPECT_EQ(priced_by, "openai/gpt-x@7");
  EXPECT_EQ(ledger_->stats().commits, commits + 1);
  expect_balance(*video, 750, 0, 0);
  EXPECT_EQ((*ledger_->find_job("job-1"))->state, "done");
  // The same again is fine: the answer may have been lost.
  EXPECT_TRUE(ledger_->update_job({.call_id = make_id(1), .state = "done", .settle = 750}).ok());
  // What is refused changes nothing, the state neither.
  EXPECT_FALSE(ledger_->update_job({.call_id = make_id(1), .state = "x", .settle = 1}).ok());
  EXPECT_EQ((*ledger_->find_job("job-1"))->state, "done");
  // A job that failed and is documented as unbilled.
  ASSERT_EQ(ask(2, 100, {video}), Verdict::kAdmitted);
  ASSERT_TRUE(ledger_->create_job({.call_id = make_id(2), .provider_job_id = "job-2"}).ok());
  ASSERT_TRUE(
      ledger_->update_job({.call_id = make_id(2), .state = "failed", .release = true}).ok());
  expect_balance(*video, 750, 0, 0);
}

TEST_P(BookingTest, AJobInDoubtIsSettledButNotReleased) {
  auto video = scope({.kind = "video", .key = "42", .limit = 1'000});
  ask(1, 800, {video});
  end(1, EntryKind::kInDoubt);
  ASSERT_TRUE(ledger_->create_job({.call_id = make_id(1), .provider_job_id = "job-1"}).ok());
  expect_balance(*video, 0, 0, 800);
  EXPECT_EQ(ledger_->update_job({.call_id = make_id(1), .release = true}).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(ledger_->update_job({.call_id = make_id(1), .settle = 700}).ok());
  expect_balance(*video, 700, 0, 0);
}

TEST_P(BookingOnFile, AJobOutlivesTheEngineThatMadeIt) {
  auto video = scope({.kind = "video", .key = "42", .limit = 1'000});
  ask(1, 300, {video});
  ask(2, 400, {video});
  ASSERT_TRUE(ledger_->create_job({.call_id = make_id(1), .provider_job_id = "job-1"}).ok());
  ledger_->close();
  open();
  video = scope({.kind = "video", .key = "42", .limit = 1'000});
  expect_balance(*video, 0, 300, 400);  // the call without a job is in doubt
  ASSERT_EQ(ledger_->jobs("")->size(), 1u);
  ASSERT_TRUE(ledger_->update_job({.call_id = make_id(1), .settle = 250}).ok());
  expect_balance(*video, 250, 0, 400);
}

// The books are compared with the rows, so a change of either is seen.
TEST_P(BookingOnFile, VerifySeesALimitThatNobodyGranted) {
  auto account = scope({.kind = "account", .key = "7", .limit = 100});
  ASSERT_TRUE(ledger_->grant(make_id(100), *account, 50, "payment").ok());
  ASSERT_TRUE(book(1, 30, {account})->admitted);
  ASSERT_TRUE(ledger_->refund({.calls = {make_id(1)}, .amount = 10, .evidence = "back"}).ok());
  ledger_->close();
  const auto edit = [&](const char* sql) { run_sql(directory_.file(), sql); };
  edit("UPDATE limits SET granted = 60");
  open();
  EXPECT_EQ(problems(), std::vector<std::string>{"scope account:7: its limit has grants of 60; the "
                                                 "entries say 50"});
  ledger_->close();
  edit("UPDATE limits SET granted = 50; DELETE FROM entries_202611 WHERE kind = 8");
  open();
  EXPECT_EQ(problems().size(), 1u);
  ledger_->close();
  edit("UPDATE balances SET settled = 30");
  open();
}

}  // namespace
}  // namespace sluiceway::store
