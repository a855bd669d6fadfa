// Holds that share a row: what the file has after each commit, and who may end what.
#include "store/hold_packs.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/failing_disk.h"
#include "store/run_sql.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

HoldRow hold_of(std::uint64_t n, Nanousd amount, std::int64_t owner = 1,
                std::int64_t since_ns = 5) {
  HoldRow row;
  row.call_id = make_id(n);
  row.amount = amount;
  row.owner = owner;
  row.since_ns = since_ns;
  row.labels = 3;
  row.segment = 202611;
  row.balances = "\x01";
  return row;
}

TEST(HoldPacks, PacksAreFilledByOneTransactionAndOneOwner) {
  HoldPacks packs;
  packs.begin();
  for (std::uint64_t n = 1; n <= kHoldPackMax + 1; ++n) packs.add(hold_of(n, 10));
  packs.add(hold_of(100, 10, 2));
  ASSERT_EQ(packs.changed().size(), 3u);
  EXPECT_EQ(packs.changed()[0]->holds.size(), kHoldPackMax);
  EXPECT_EQ(packs.changed()[1]->holds.size(), 1u);
  EXPECT_EQ(packs.changed()[2]->owner, 2);
  packs.written();
  packs.begin();
  packs.add(hold_of(101, 10));
  ASSERT_EQ(packs.changed().size(), 1u);
  EXPECT_EQ(packs.changed()[0]->holds.size(), 1u);
}

TEST(HoldPacks, AHoldIsFoundUntilItIsErased) {
  HoldPacks packs;
  packs.begin();
  for (std::uint64_t n = 1; n <= 3; ++n) packs.add(hold_of(n, 10 * static_cast<Nanousd>(n)));
  packs.written();
  EXPECT_TRUE(packs.set_amount(make_id(2), 7));
  auto row = packs.find(make_id(2));
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->amount, 7);
  EXPECT_EQ(row->owner, 1);
  EXPECT_EQ(row->since_ns, 5);
  EXPECT_EQ(row->labels, 3);
  EXPECT_EQ(row->segment, 202611);
  EXPECT_EQ(row->balances, "\x01");
  EXPECT_TRUE(packs.erase(make_id(1)));  // the last takes its place
  EXPECT_FALSE(packs.erase(make_id(1)));
  EXPECT_FALSE(packs.set_amount(make_id(1), 1));
  EXPECT_EQ(packs.find(make_id(3))->amount, 30);
  std::vector<HoldRow> rows;
  packs.list(1, rows);
  EXPECT_EQ(rows.size(), 2u);
  packs.list(2, rows);
  EXPECT_EQ(rows.size(), 2u);
}

// In whatever order packs become empty, the others stay.
TEST(HoldPacks, EmptyPacksAreForgotten) {
  HoldPacks packs;
  for (std::uint64_t n = 1; n <= 5; ++n) {
    packs.begin();
    packs.add(hold_of(n, 10, 1, static_cast<std::int64_t>(n)));
  }
  packs.written();
  for (const std::uint64_t n : {5u, 1u, 3u}) EXPECT_TRUE(packs.erase(make_id(n)));
  packs.written();
  std::vector<HoldRow> rows;
  packs.list(std::nullopt, rows);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(packs.erase(make_id(2)));
  EXPECT_TRUE(packs.erase(make_id(4)));
  packs.written();
  rows.clear();
  packs.list(std::nullopt, rows);
  EXPECT_TRUE(rows.empty());
}

class PacksInFile : public LedgerFixture {
 protected:
  void open() override {
    ASSERT_NO_FATAL_FAILURE(LedgerFixture::open());
    day_ = scope({.kind = "day", .limit = 100'000});
  }
  void ask_many(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n <= last; ++n) reserve(n, 10, {day_});
    ledger_->pump();
  }
  std::int64_t packs() { return sql_number(directory_.file(), "SELECT count(*) FROM hold_packs"); }
  std::int64_t packed() {
    return sql_number(directory_.file(), "SELECT coalesce(sum(holds), 0) FROM hold_packs");
  }
  std::int64_t alone() { return sql_number(directory_.file(), "SELECT count(*) FROM holds"); }

  std::shared_ptr<Scope> day_;
};

TEST_F(PacksInFile, ACommitsHoldsShareRowsUntilTheLastHasEnded) {
  ask_many(1, 100);
  EXPECT_EQ(packs(), 2);  // 64 and 36
  EXPECT_EQ(packed(), 100);
  settle(1, 7);
  EXPECT_EQ(packed(), 99);
  for (std::uint64_t n = 2; n <= 64; ++n) settle(n, 7);
  EXPECT_EQ(packs(), 1);
  EXPECT_EQ(packed(), 36);
  for (std::uint64_t n = 65; n <= 100; ++n) settle(n, 7);
  EXPECT_EQ(packs(), 0);
  EXPECT_EQ(alone(), 0);
  expect_balance(*day_, 700, 0, 0);
  expect_books_right();
}

TEST_F(PacksInFile, DoubtLeavesThePackAndAShrunkHoldStays) {
  ask_many(1, 3);
  end(1, EntryKind::kInDoubt);
  end(2, EntryKind::kShrink, 4);
  EXPECT_EQ(packed(), 2);
  EXPECT_EQ(alone(), 1);
  expect_balance(*day_, 0, 14, 10);
  expect_books_right();
  auto holds = ledger_->holds();
  ASSERT_EQ(holds->size(), 3u);
  EXPECT_TRUE((*holds)[0].in_doubt);
  EXPECT_EQ((*holds)[1].amount, 4);
  EXPECT_EQ((*holds)[1].labels->model, "gpt-x");
  EXPECT_EQ((*holds)[1].scopes, std::vector<std::string>{"day"});
  EXPECT_EQ((*holds)[1].owner, ledger_->owner());
  end(2, EntryKind::kInDoubt);
  expect_balance(*day_, 0, 10, 14);
  EXPECT_EQ(alone(), 2);
  expect_books_right();
}

TEST_F(PacksInFile, AJobsHoldIsARowOfItsOwn) {
  ledger_->reserve({.token = 1,
                    .call_id = make_id(1),
                    .amount = 10,
                    .scopes = {day_},
                    .labels = plain_labels(),
                    .job = true});
  ask_many(2, 2);
  EXPECT_EQ(packed(), 1);
  EXPECT_EQ(alone(), 1);
  // Also one that becomes a job's later.
  ASSERT_TRUE(ledger_->create_job({.call_id = make_id(2), .provider_job_id = "job"}).ok());
  EXPECT_EQ(packs(), 0);
  EXPECT_EQ(alone(), 2);
  expect_books_right();
}

// Every write of it fails once; then all is as if nothing had.
TEST_F(PacksInFile, ACommitThatFailsChangesNoPack) {
  ledger_->close();
  FailingDisk disk;
  open();
  ask_many(1, 70);
  disk.fail(SQLITE_FULL, 0);
  ledger_->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 7});
  ledger_->finish({.call_id = make_id(70), .kind = EntryKind::kInDoubt});
  reserve(71, 10, {day_});
  ledger_->pump();
  EXPECT_EQ(sink_.wait(71).kind, Verdict::kUnavailable);
  disk.heal();
  EXPECT_EQ(packed(), 70);
  EXPECT_EQ(alone(), 0);
  clock_.advance(kSecond);
  ledger_->pump();  // the ends are tried again
  EXPECT_EQ(packed(), 68);
  EXPECT_EQ(alone(), 1);
  for (std::uint64_t n = 2; n <= 69; ++n) settle(n, 7);
  EXPECT_EQ(packs(), 0);
  expect_balance(*day_, 69 * 7, 0, 10);
  expect_books_right();
  ledger_->close();
  ledger_ = nullptr;
}

// An engine that died left two packs; the end of one was torn off by a bad disk.
TEST_F(PacksInFile, WhatIsTornOffAPackIsTakenAsideAndTheRestRecovered) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  ledger_->close();
  const pid_t pid = ::fork();
  if (pid == 0) {
    open();
    ask_many(1, 3);
    ask_many(4, 5);
    (void)!::write(ready[1], "y", 1);
    ::_exit(0);  // no close
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  char letter = 0;
  ASSERT_EQ(::read(ready[0], &letter, 1), 1);
  ::close(ready[0]);
  ::close(ready[1]);
  // Three holds of 16 bytes, amount, label, length and one balance: 20 each. The third is cut.
  ASSERT_EQ(run_sql(directory_.file(),
                    "UPDATE hold_packs SET rows = substr(rows, 1, 50) WHERE length(rows) = 60"),
            1);
  open();
  EXPECT_EQ(ledger_->holds()->size(), 4u);
  EXPECT_EQ(packs(), 0);
  expect_balance(*day_, 0, 10, 40);  // its money stays counted
  const auto found = problems();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE((found[0] + found[1]).find("malformed pack"), std::string::npos);
  EXPECT_NE((found[0] + found[1]).find("not ended, but has no hold"), std::string::npos);
  for (const std::uint64_t n : {1u, 2u, 4u, 5u}) {
    EXPECT_TRUE(ledger_->resolve(make_id(n), 10, "bill").ok());
  }
  expect_balance(*day_, 40, 10, 0);
}

// Another process's hold is seen, and is not ended by us.
TEST_F(PacksInFile, AHoldOfAnotherProcessIsUnderWay) {
  ledger_->close();
  int ready[2], stop[2];
  ASSERT_EQ(::pipe(ready) + ::pipe(stop), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(stop[1]);
    open();
    ask_many(1, 2);
    settle(2, 3);
    char letter = 'y';
    (void)!::write(ready[1], &letter, 1);
    (void)!::read(stop[0], &letter, 1);  // until the test closes its end
    settle(1, 9);
    ledger_->close();
    ::_exit(0);
  }
  ::close(stop[0]);
  char letter = 0;
  ASSERT_EQ(::read(ready[0], &letter, 1), 1);
  open();
  EXPECT_EQ(ledger_->resolve(make_id(1), 5, "bill").code(), absl::StatusCode::kFailedPrecondition);
  settle(1, 5);
  EXPECT_EQ(ledger_->stats().orphan_finishes, 1u);
  EXPECT_EQ(ledger_->holds()->size(), 1u);
  expect_balance(*day_, 3, 10, 0);
  expect_books_right();
  ::close(stop[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  expect_balance(*day_, 12, 0, 0);
  expect_books_right();
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace sluiceway::store
