// A disk that refuses: a VFS that fails writes and syncs when told to. The ledger refuses, loses
// nothing that it answered, and goes on when the disk does.
#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "store/failing_disk.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class DiskTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, DiskTest,
                         ::testing::Values(SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC));

TEST_P(DiskTest, RefusesAndLosesNothing) {
  FailingDisk disk;
  ScratchDirectory directory;
  SeededRandom random(static_cast<std::uint64_t>(GetParam()));
  const LedgerOptions options{.path = directory.file(),
                              .admit = &plain_admit,
                              .threaded = false,
                              .checkpoint_bytes = 256 << 10};
  KeepingSink sink;
  auto opened = open_ledger(options, &sink);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::shared_ptr<Ledger> ledger = *opened;
  auto scope = ledger->open_scope({.kind = "day", .limit = 1'000'000});
  ASSERT_TRUE(scope.ok());
  Nanousd settled = 0, held = 0;
  int unavailable = 0;
  std::vector<std::uint64_t> open;
  for (std::uint64_t n = 1; n <= 600; ++n) {
    if (n % 40 == 10) disk.fail(GetParam(), static_cast<int>(random.uniform(12)));
    if (n % 40 == 30) disk.heal();
    if (open.size() > 3) {  // handed in whatever the disk does: never lost
      const std::uint64_t done = open.front();
      open.erase(open.begin());
      ledger->finish({.call_id = make_id(done), .kind = EntryKind::kSettle, .amount = 70});
      settled += 70;
      held -= 100;
    }
    ledger->reserve({.token = n, .call_id = make_id(n), .amount = 100, .scopes = {*scope}});
    ledger->pump();
    const Verdict v = sink.wait(n);
    if (v.kind == Verdict::kAdmitted) {
      open.push_back(n);
      held += 100;
    } else {
      ASSERT_EQ(v.kind, Verdict::kUnavailable);
      EXPECT_EQ(v.error.code(), GetParam() == SQLITE_FULL ? absl::StatusCode::kResourceExhausted
                                                          : absl::StatusCode::kUnavailable);
      EXPECT_NE(to_std(v.error.message()).find(directory.file()), std::string::npos) << v.error;
      ++unavailable;
    }
  }
  disk.heal();
  EXPECT_GT(unavailable, 20);
  EXPECT_LT(unavailable, 500);
  ASSERT_TRUE(ledger->flush(kSecond).ok());
  auto balance = ledger->balance(**scope);
  ASSERT_TRUE(balance.ok()) << balance.status();
  EXPECT_EQ(balance->settled, settled);
  EXPECT_EQ(balance->held, held);
  auto report = ledger->verify();
  ASSERT_TRUE(report.ok());
  for (const auto& p : report->problems) ADD_FAILURE() << p;
  ledger->close();
  // And from the disk alone.
  ledger = *open_ledger(options, &sink);
  scope = ledger->open_scope({.kind = "day", .limit = 1'000'000});
  balance = ledger->balance(**scope);
  EXPECT_EQ(balance->settled, settled);
  EXPECT_EQ(balance->in_doubt, held);
  ledger->close();
}

// A sync that fails after the write: the answer is an error, and the reservation is in the file all
// the same. Nothing was sent for it, so its money comes back, also where no other call ever comes.
TEST(DiskLostAnswer, AnIdleLedgerGivesBackWhatWasAnsweredAsFailed) {
  FailingDisk disk;
  ScratchDirectory directory;
  ManualClock clock(1'000 * kSecond, kSunday);
  KeepingSink sink;
  auto ledger = *open_ledger(
      {.path = directory.file(), .admit = &plain_admit, .clock = &clock, .threaded = false}, &sink);
  auto scope = *ledger->open_scope({.kind = "day", .limit = 1'000});
  ledger->pump();
  disk.fail(SQLITE_IOERR_FSYNC, 0);
  ledger->reserve({.token = 1, .call_id = make_id(1), .amount = 100, .scopes = {scope}});
  ledger->pump();
  ASSERT_EQ(sink.wait(1).kind, Verdict::kUnavailable);
  ASSERT_EQ(ledger->balance(*scope)->held, 100) << "it is in the file after all";
  clock.advance(2 * kSecond);
  ledger->pump();  // still refuses: tried, and to be tried again
  disk.heal();
  clock.advance(2 * kSecond);
  ledger->pump();
  EXPECT_EQ(ledger->balance(*scope)->held, 0);
  EXPECT_EQ(ledger->holds()->size(), 0U);
  EXPECT_EQ(ledger->verify()->problems, std::vector<std::string>{});
  ledger->close();
}

TEST(DiskFull, ACloseThatCannotWriteLeavesTheRestToTheNextStart) {
  FailingDisk disk;
  ScratchDirectory directory;
  const LedgerOptions options{.path = directory.file(), .admit = &plain_admit, .threaded = false};
  KeepingSink sink;
  auto ledger = *open_ledger(options, &sink);
  auto scope = ledger->open_scope({.kind = "day", .limit = 1'000});
  ledger->reserve({.token = 1, .call_id = make_id(1), .amount = 100, .scopes = {*scope}});
  ledger->pump();
  ASSERT_EQ(sink.wait(1).kind, Verdict::kAdmitted);
  disk.fail(SQLITE_FULL, 0);
  ledger->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 70});
  EXPECT_EQ(ledger->flush(kSecond).code(), absl::StatusCode::kDeadlineExceeded);
  ledger->close();
  disk.heal();
  ledger = *open_ledger(options, &sink);
  scope = ledger->open_scope({.kind = "day", .limit = 1'000});
  EXPECT_EQ(ledger->balance(**scope)->in_doubt, 100);
  EXPECT_TRUE(ledger->verify()->ok());
  ledger->close();
}

}  // namespace
}  // namespace sluiceway::store
