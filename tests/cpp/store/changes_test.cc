// The log of commits, rolling scopes over long times, and what a broken row may not do. Both
// backends where the case allows.
#include <gtest/gtest.h>

#include "store/run_sql.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class BooksTest : public BackendFixture {};

INSTANTIATE_TEST_SUITE_P(Backends, BooksTest, ::testing::Bool(), backend_name);

// What a ledger in memory has not: a file that outlives it.
class BooksOnFile : public BooksTest {};
INSTANTIATE_TEST_SUITE_P(Backends, BooksOnFile, ::testing::Values(true), backend_name);

std::string told(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& e : entries) {
    out += std::string(entry_kind_name(e.kind)) + std::to_string(e.call_id.high - 0x1000) + " ";
  }
  return out;
}

TEST_P(BooksTest, ChangesComeInTheOrderOfTheirCommits) {
  auto video = scope({.kind = "video", .key = "42", .limit = 3'000});
  EXPECT_EQ(ledger_->changes(0, 10)->next, 0);
  reserve(2, 100, {video});  // one commit of two rows, ids out of order
  reserve(1, 100, {video});
  ledger_->pump();
  settle(1, 70);
  reserve(3, 100'000, {video});  // refused: no row
  ledger_->pump();
  settle(2, 60);
  auto all = ledger_->changes(0, 100);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(told(all->entries), "reserve2 reserve1 settle1 settle2 ");
  EXPECT_EQ(all->entries[2].amount, 70);
  EXPECT_EQ(all->entries[0].scopes, std::vector<std::string>{"video:42"});
  auto first = ledger_->changes(0, 1);  // a commit is whole
  EXPECT_EQ(told(first->entries), "reserve2 reserve1 ");
  auto rest = ledger_->changes(first->next, 1);
  EXPECT_EQ(told(rest->entries), "settle1 ");
  EXPECT_EQ(told(ledger_->changes(rest->next, 9)->entries), "settle2 ");
  EXPECT_TRUE(ledger_->changes(all->next, 9)->entries.empty());
  EXPECT_EQ(ledger_->changes(all->next, 9)->next, all->next);
  EXPECT_EQ(ledger_->changes(-1, 9).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(BooksTest, AnOldCallsEndIsAChangeOfToday) {
  auto video = scope({.kind = "video", .key = "42", .limit = 3'000});
  ask(1, 100, {video});
  const std::int64_t after = ledger_->changes(0, 10)->next;
  clock_.advance(40 * 86'400 * kSecond);  // the next year's January: another month's table
  ask(2, 100, {video});
  settle(1, 80);
  EXPECT_EQ(told(ledger_->changes(after, 10)->entries), "reserve2 settle1 ");
}

TEST_P(BooksTest, LeanRowsLeaveOutWhatSumsDoNotNeed) {
  auto video = scope({.kind = "video", .key = "42", .limit = 3'000});
  ask(1, 100, {video});
  settle(1, 80);
  ask(2, 100, {video});
  std::vector<Entry> rows;
  EntryBounds bounds;
  bounds.lean = true;
  ASSERT_TRUE(ledger_
                  ->read_entries(bounds,
                                 [&](std::span<const Entry> batch) {
                                   rows.assign(batch.begin(), batch.end());
                                   return true;
                                 })
                  .ok());
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(told(rows), "reserve1 settle1 reserve2 ");
  EXPECT_EQ(rows[1].amount, 80);
  EXPECT_EQ(rows[1].label_id, rows[2].label_id);
  EXPECT_EQ(*rows[1].labels, *plain_labels());
  EXPECT_TRUE(rows[0].scopes.empty());
  EXPECT_TRUE(rows[0].intent_id.empty());
}

// A day of an hour's window, one call a minute: 1,440 slots pass by, at most 2 * 60 + 1 are kept.
TEST_P(BooksTest, OldSlotsAreFolded) {
  auto hour = scope({.kind = "hour", .limit = 1'000, .rolling_ns = 3'600 * kSecond});
  Nanousd settled = 0;
  ASSERT_EQ(ask(1, 5, {hour}), Verdict::kAdmitted);  // open all the time: its slot stays
  for (std::uint64_t n = 2; n <= 1'440; ++n) {
    clock_.advance(60 * kSecond);
    ASSERT_EQ(ask(n, 10, {hour}), Verdict::kAdmitted);
    settle(n, 7);
    settled += 7;
  }
  auto rows = *ledger_->scopes();
  EXPECT_LE(rows.size(), 2u * kRollingSlots + 2u);
  Nanousd sum = 0, held = 0;
  for (const ScopeInfo& row : rows) {
    EXPECT_EQ(row.name, "hour");
    EXPECT_EQ(row.rolling_ns, 3'600 * kSecond);
    sum += row.balance.settled;
    held += row.balance.held;
  }
  EXPECT_EQ(sum, settled);
  EXPECT_EQ(held, 5);
  expect_books_right();
  // The window: the running slot and the 60 before it.
  EXPECT_EQ(ledger_->balance(*hour)->settled, 61 * 7);
  settle(1, 5);
  // Money that comes back goes to where the slot went.
  EXPECT_EQ(*ledger_->refund({.calls = {make_id(10)}, .amount = 7, .evidence = "credit note"}), 0);
  EXPECT_EQ(*ledger_->refund({.calls = {make_id(1'440)}, .amount = 7, .evidence = "credit note"}),
            0);
  EXPECT_EQ(ledger_->balance(*hour)->settled, 60 * 7);
  expect_books_right();
  if (!GetParam()) return;
  ledger_->close();
  open();  // from the file alone
  hour = scope({.kind = "hour", .limit = 1'000, .rolling_ns = 3'600 * kSecond});
  EXPECT_EQ(ledger_->balance(*hour)->settled, 60 * 7);
  expect_books_right();
}

// A free call holds nothing, so that its slot looks as if nobody used it.
TEST_P(BooksTest, ASlotWithAFreeCallIsNotFolded) {
  auto hour = scope({.kind = "hour", .limit = 1'000, .rolling_ns = 3'600 * kSecond});
  ASSERT_EQ(ask(1, 0, {hour}), Verdict::kAdmitted);
  for (std::uint64_t n = 2; n <= 300; ++n) {
    clock_.advance(60 * kSecond);
    ask(n, 1, {hour});
    settle(n, 1);
  }
  settle(1, 400);  // it was not free
  Nanousd sum = 0;
  const auto rows = *ledger_->scopes();
  for (const ScopeInfo& row : rows) sum += row.balance.settled;
  EXPECT_EQ(sum, 400 + 299);
  expect_books_right();
}

TEST_P(BooksTest, VerifySeesARollingScopeAboveItsLimit) {
  auto hour = scope({.kind = "hour", .limit = 100, .rolling_ns = 3'600 * kSecond});
  ask(1, 60, {hour});
  settle(1, 90);  // 30 more than was held
  clock_.advance(1'800 * kSecond);
  auto booked = ledger_->book({.call_id = make_id(2),
                               .amount = 40,
                               .scopes = {hour},
                               .labels = plain_labels(),
                               .force = true});
  ASSERT_TRUE(booked.ok());
  // 130 in one window of 100: the calls' overruns are 30 and 30, of which 30 were within the limit.
  EXPECT_EQ(ledger_->verify()->over_limit,
            std::vector<std::string>{"hour is 30 above its limit; overruns explain 60"});
  expect_books_right();
}

TEST_P(BooksOnFile, ABrokenHoldDoesNotStopTheRest) {
  auto video = scope({.kind = "video", .key = "42", .limit = 3'000});
  auto day = scope({.kind = "day", .limit = 5'000});
  for (std::uint64_t n = 1; n <= 3; ++n) ask(n, 100 * static_cast<Nanousd>(n), {video, day});
  const std::int64_t owner = ledger_->owner();
  ledger_->close();
  // As a crash would have left it, one hold's blob cut short and another's naming no balance.
  run_sql(directory_.file(), "UPDATE holds SET in_doubt = 0, owner = " + std::to_string(owner) +
                                 "; DELETE FROM entries_202611 WHERE kind = 3;"
                                 "UPDATE balances SET held = in_doubt, in_doubt = 0;"
                                 "INSERT INTO owners(owner_id, pid, version, started_ns) VALUES (" +
                                 std::to_string(owner) +
                                 ", 1, 2, 0);"
                                 "UPDATE holds SET balances = x'80' WHERE amount = 100;"
                                 "UPDATE holds SET balances = x'017f' WHERE amount = 200;");
  open();
  EXPECT_EQ(ledger_->holds()->size(), 1u);  // the whole one, in doubt
  EXPECT_EQ(problems().size(), 2u);
  for (const std::string& problem : problems()) {
    EXPECT_NE(problem.find("taken aside"), std::string::npos) << problem;
  }
  video = scope({.kind = "video", .key = "42", .limit = 3'000});
  day = scope({.kind = "day", .limit = 5'000});
  // The second hold named video's row before the broken one: that scope waits for a person.
  EXPECT_EQ(ask(11, 10, {video}), Verdict::kBlocked);
  EXPECT_EQ(ask(12, 10, {day}), Verdict::kAdmitted);
  EXPECT_EQ(ledger_->balance(*day)->held, 310);  // their money stays counted
  EXPECT_EQ(ledger_->balance(*day)->in_doubt, 300);
  EXPECT_EQ(ledger_->stats().quarantined, 2u);
  ledger_->pump();
  EXPECT_TRUE(ledger_->resolve(make_id(3), 250, "bill").ok());
}

TEST_P(BooksOnFile, ABatchOfRefusalsWritesNothing) {
  auto video = scope({.kind = "video", .key = "42", .limit = 10});
  ask(1, 10, {video});
  const auto size = [&] { return std::filesystem::file_size(directory_.file() + "-wal"); };
  const auto before = size();
  for (std::uint64_t n = 2; n < 50; ++n) EXPECT_EQ(ask(n, 1, {video}), Verdict::kExceeded);
  EXPECT_EQ(size(), before);
}

}  // namespace
}  // namespace sluiceway::store
