// Bookings, grants, refunds and jobs where the disk refuses or the process dies: done whole or not
// at all, and refused rather than forgotten. Also: a report does not keep the log from being
// copied.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "store/failing_disk.h"
#include "store/faults.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

LedgerOptions options_for(const ScratchDirectory& directory) {
  return {.path = directory.file(),
          .durability = Durability::kPower,
          .admit = &plain_admit,
          .threaded = false,
          .checkpoint_bytes = 128 << 10};
}

class BookingDisk : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, BookingDisk,
                         ::testing::Values(SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC));

// Each round books 10, refunds 4 of it, grants 6, books 7 of which an allowance has 3, and makes a
// job row, on a disk that fails at ever other places. What was answered with an error may not show
// up.
TEST_P(BookingDisk, DoesWhatWasAnswered) {
  FailingDisk disk;
  ScratchDirectory directory;
  KeepingSink sink;
  auto ledger = *open_ledger(options_for(directory), &sink);
  auto scope = *ledger->open_scope({.kind = "account", .key = "7", .limit = 1'000});
  Nanousd settled = 0, limit = 1'000;
  std::size_t jobs = 0;
  auto purse = *ledger->open_scope({.kind = "purse", .limit = 10'000});
  std::vector<std::shared_ptr<Scope>> allowances;
  for (int n = 0; n <= 120; ++n) {
    allowances.push_back(
        *ledger->open_scope({.kind = "allowance", .key = std::to_string(n), .limit = 3}));
  }
  Nanousd from_purse = 0;
  std::string booked_key, failed_key;
  int failed = 0, done = 0;
  for (std::uint64_t n = 1; n <= 120; ++n) {
    disk.fail(GetParam(), static_cast<int>(n % (GetParam() == SQLITE_IOERR_FSYNC ? 4 : 61)));
    const std::string key = "key" + std::to_string(n);
    const auto booked = ledger->book({.call_id = make_id(n),
                                      .amount = 10,
                                      .scopes = {scope},
                                      .labels = plain_labels(),
                                      .idempotency_key = key});
    if (booked.ok()) {
      settled += 10;
      booked_key = key;
    } else {
      failed_key = key;
    }
    const auto cost = ledger->refund({.calls = {make_id(n)}, .amount = 4, .evidence = "back"});
    if (cost.ok()) settled -= 4;
    const auto granted = ledger->grant(make_id(n + 1'000), *scope, 6, "payment", "in" + key);
    if (granted.ok()) limit += 6;
    const auto split = ledger->book({.call_id = make_id(10'000 + n, 1),
                                     .amount = 7,
                                     .scopes = {purse},
                                     .allowance = allowances[n],
                                     .labels = plain_labels()});
    if (split.ok()) from_purse += 4;
    const Status job =
        ledger->create_job({.call_id = make_id(n), .provider_job_id = std::to_string(n)});
    if (job.ok()) ++jobs;
    for (const bool ok : {booked.ok(), cost.ok(), granted.ok(), split.ok(), job.ok()})
      ++(ok ? done : failed);
    disk.heal();
    // The next commit settles what became of the failed ones.
    ASSERT_TRUE(ledger->open_scope({.kind = "other", .key = std::to_string(n)}).ok());
    const auto balance = ledger->balance(*scope);
    ASSERT_TRUE(balance.ok()) << balance.status();
    ASSERT_EQ(balance->settled, settled) << n;
    ASSERT_EQ(balance->limit, limit) << n;
    ASSERT_EQ(ledger->balance(*purse)->settled, from_purse) << n;
    ASSERT_EQ(ledger->balance(*allowances[n])->settled, split.ok() ? 3 : 0) << n;
    // Its key is free again.
    if (!granted.ok()) {
      const auto again = ledger->grant(make_id(n + 2'000), *scope, 6, "payment", "in" + key);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(*again, limit += 6) << n;
    }
    // A job's row may be there: the same call again is fine.
    if (!job.ok()) {
      ASSERT_TRUE(
          ledger->create_job({.call_id = make_id(n), .provider_job_id = std::to_string(n)}).ok());
      ++jobs;
    }
    ASSERT_EQ(ledger->jobs("")->size(), jobs) << n;
    if (booked.ok() || !cost.ok()) continue;
    ADD_FAILURE() << "a refund of what was not booked";
  }
  EXPECT_GT(failed, 40);
  EXPECT_GT(done, 40);
  EXPECT_EQ(ledger->verify()->problems, std::vector<std::string>{});
  // A key whose booking was refused by the disk is free; one that was booked is not.
  for (const std::string& key : {booked_key, failed_key}) {
    auto again = ledger->book({.call_id = make_id(5'000 + key.size()),
                               .amount = 10,
                               .scopes = {scope},
                               .labels = plain_labels(),
                               .idempotency_key = key});
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->duplicate, key == booked_key);
  }
  ledger->close();
}

class BookingCrash : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Labels, BookingCrash,
                         ::testing::Values("book.before_commit", "book.after_commit"));

TEST_P(BookingCrash, IsDoneOrNotDone) {
  for (int what = 0; what < 4; ++what) {
    SCOPED_TRACE(what);
    ScratchDirectory directory;
    const pid_t pid = ::fork();
    if (pid == 0) {
      KeepingSink sink;
      auto ledger = *open_ledger(options_for(directory), &sink);
      auto scope = *ledger->open_scope({.kind = "account", .key = "7", .limit = 100});
      ledger->reserve({.token = 1, .call_id = make_id(1), .amount = 50, .scopes = {scope}});
      ledger->pump();
      ledger->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 40});
      ledger->pump();
      set_fault_hook([](const char* label) {
        if (std::string_view(label) == GetParam()) ::kill(::getpid(), SIGKILL);
      });
      if (what == 0) {
        (void)ledger->book({.call_id = make_id(2), .amount = 7, .scopes = {scope}});
      } else if (what == 1) {
        (void)ledger->grant(make_id(3), *scope, 7, "payment");
      } else if (what == 2) {
        (void)ledger->refund({.calls = {make_id(1)}, .amount = 7, .evidence = "back"});
      } else {
        (void)ledger->create_job({.call_id = make_id(1), .provider_job_id = "job"});
      }
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status));
    const bool done = std::string_view(GetParam()) == "book.after_commit";
    KeepingSink sink;
    auto ledger = *open_ledger(options_for(directory), &sink);
    auto scope = *ledger->open_scope({.kind = "account", .key = "7", .limit = 100});
    const Nanousd change = what == 0 ? 7 : what == 2 ? -7 : 0;
    EXPECT_EQ(ledger->balance(*scope)->settled, 40 + (done ? change : 0));
    EXPECT_EQ(ledger->balance(*scope)->limit, done && what == 1 ? 107 : 100);
    EXPECT_EQ(ledger->jobs("")->size(), done && what == 3 ? 1u : 0u);
    EXPECT_EQ(ledger->verify()->problems, std::vector<std::string>{});
    ledger->close();
  }
}

// The log stays short while a slow report goes on: between two of its batches it holds nothing.
TEST(Reports, DoNotPinTheLog) {
  ScratchDirectory directory;
  KeepingSink sink;
  auto options = options_for(directory);
  options.durability = Durability::kProcess;
  auto ledger = *open_ledger(options, &sink);
  auto scope = *ledger->open_scope({.kind = "day", .limit = kNanousdMax / 2});
  std::uint64_t n = 0;
  const auto write = [&](int calls) {
    for (int i = 0; i < calls; ++i) {
      ++n;
      ledger->reserve({.token = n, .call_id = make_id(n), .amount = 9, .scopes = {scope}});
      ledger->pump();
      ledger->finish({.call_id = make_id(n), .kind = EntryKind::kSettle, .amount = 9});
      ledger->pump();
    }
  };
  write(300);
  EntryBounds bounds;
  bounds.batch = 10;
  std::uintmax_t longest = 0;
  int batches = 0;
  ASSERT_TRUE(ledger
                  ->read_entries(bounds,
                                 [&](std::span<const Entry>) {
                                   write(20);  // 40 commits of some 16 kB
                                   longest = std::max(longest, std::filesystem::file_size(
                                                                   directory.file() + "-wal"));
                                   return ++batches < 100;
                                 })
                  .ok());
  EXPECT_EQ(batches, 100);
  // 64 MB have gone through it; it is copied at 128 kB.
  EXPECT_LT(longest, 1u << 20);
  EXPECT_GT(ledger->stats().checkpoints, 50u);
  ledger->close();
}

}  // namespace
}  // namespace sluiceway::store
