// Months moved into an archive: nothing is lost or counted twice, whatever stops it. The year is
// 2026: the clock starts on 10 September, 06:00 UTC, and goes on in days.
#include "store/archive.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <set>
#include <utility>

#include "store/failing_disk.h"
#include "store/faults.h"
#include "store/run_sql.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

constexpr std::int64_t kDay = 86'400 * kSecond;
constexpr std::int64_t kTenthOfSeptember = kSunday - 73 * kDay;

class ArchiveTest : public LedgerFixture {
 protected:
  ArchiveTest() : LedgerFixture(kTenthOfSeptember) {}

  void TearDown() override {
    set_fault_hook({});
    LedgerFixture::TearDown();
  }
  void open() override {
    ASSERT_NO_FATAL_FAILURE(LedgerFixture::open());
    video_ = scope({.kind = "video", .key = "42", .limit = 100'000});
    month_ = scope({.kind = "month", .limit = 100'000, .period = Period::kMonth});
    hour_ = scope({.kind = "hour", .limit = 10'000, .rolling_ns = 3'600 * kNsPerSecond});
  }
  void call(std::uint64_t n, Nanousd cost, bool ends = true) {
    ledger_->reserve({.token = n,
                      .call_id = make_id(n),
                      .intent_id = make_id(n),
                      .amount = 100,
                      .scopes = {video_, month_, hour_},
                      .labels = plain_labels(),
                      .price_version = "2026-09-01"});
    ledger_->pump();
    ASSERT_EQ(sink_.wait(n).kind, Verdict::kAdmitted);
    if (ends) settle(n, cost);
  }
  // Three calls in September (one refunded, and a grant), two in October, one in November.
  void three_months() {
    call(1, 10);
    call(2, 20);
    call(3, 30);
    EXPECT_EQ(*ledger_->refund({.calls = {make_id(3)}, .amount = 5, .evidence = "credit"}), 25);
    EXPECT_EQ(*ledger_->grant(make_id(90), *video_, 1'000, "payment"), 101'000);
    clock_.advance(30 * kDay);
    call(4, 40);
    call(5, 50, false);
    clock_.advance(30 * kDay);
    call(6, 60);
  }
  std::string archive_path() const { return directory_.file("archive.db"); }
  static std::string calls_of(
      const std::function<Status(const std::function<bool(std::span<const Entry>)>&)>& read) {
    std::set<std::uint64_t> seen;
    const Status status = read([&](std::span<const Entry> rows) {
      for (const Entry& row : rows) seen.insert(row.call_id.high - 0x1000);
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    std::string out;
    for (const std::uint64_t n : seen) out += std::to_string(n) + " ";
    return out;
  }
  std::string live() {
    return calls_of([&](const auto& use) { return ledger_->read_entries({}, use); });
  }
  std::string archived() {
    return calls_of([&](const auto& use) { return read_archive(archive_path(), {}, use); });
  }
  // Of the ledger and the archives together: how many entries, and what they settle.
  std::pair<std::int64_t, Nanousd> together() { return together({archive_path()}); }
  std::pair<std::int64_t, Nanousd> together(const std::vector<std::string>& paths) {
    std::pair<std::int64_t, Nanousd> sums;
    const Status status = ledger_->read_entries({.archives = paths}, [&](auto rows) {
      for (const Entry& row : rows) {
        ++sums.first;
        if (row.kind == EntryKind::kSettle) sums.second += row.amount;
      }
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    return sums;
  }
  void expect_books_right() {
    LedgerFixture::expect_books_right();
    EXPECT_EQ(ledger_->balance(*video_)->limit, 101'000);
  }
  void expect_archive_right(std::int64_t entries) {
    auto report = verify_archive(archive_path());
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->problems, std::vector<std::string>{});
    EXPECT_EQ(report->entries, entries);
  }

  std::shared_ptr<Scope> video_, month_, hour_;
};

TEST_F(ArchiveTest, ClosedMonthsMoveAndTheBooksStay) {
  three_months();
  auto done = ledger_->archive("2026-12", archive_path());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->months, std::vector<std::int32_t>{202609});
  EXPECT_EQ(done->kept, std::vector<std::int32_t>{202610});  // call 5 is open; November runs
  EXPECT_EQ(done->entries, 8);  // 3 * (reserve, settle), a refund, a grant
  EXPECT_EQ(live(), "4 5 6 ");
  EXPECT_EQ(archived(), "1 2 3 90 ");
  expect_books_right();
  expect_archive_right(8);
  EXPECT_EQ(ledger_->balance(*video_)->settled, 10 + 20 + 25 + 40 + 60);
  // An archived call is not changed any more, and the answer says where it is and what it cost.
  const Status archived_call =
      ledger_->refund({.calls = {make_id(1)}, .amount = 1, .evidence = "x"}).status();
  EXPECT_EQ(archived_call.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(to_std(archived_call.message()).find("is in the archive " + archive_path() + " at 10,"),
            std::string_view::npos)
      << archived_call;
  EXPECT_EQ(ledger_->resolve(make_id(1), 1, "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ledger_->refund({.calls = {make_id(77)}, .amount = 1, .evidence = "x"}).status().code(),
            absl::StatusCode::kNotFound);
  // The open call ends; its month follows into the same file.
  settle(5, 50);
  done = ledger_->archive("2026-12", archive_path());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->months, std::vector<std::int32_t>{202610});
  EXPECT_EQ(live(), "6 ");
  EXPECT_EQ(archived(), "1 2 3 4 5 90 ");
  expect_books_right();
  expect_archive_right(12);
  ledger_->close();
  open();
  expect_books_right();
  EXPECT_EQ(ledger_->balance(*video_)->settled, 10 + 20 + 25 + 40 + 50 + 60);
}

TEST_F(ArchiveTest, AnArchiveTellsWhatTheLedgerTold) {
  three_months();
  const auto texts = [](std::vector<std::string>& out) {
    return [&out](std::span<const Entry> rows) {
      for (const Entry& e : rows) {
        std::string scopes;
        for (const std::string& scope : e.scopes) scopes += scope + " ";
        out.push_back(e.call_id.text() + " " + std::string(entry_kind_name(e.kind)) + " " +
                      std::to_string(e.amount) + " " + e.labels->model + " " + e.labels->unit +
                      " " + e.price_version + " " + e.evidence + " " + scopes +
                      std::to_string(e.time_ns));
      }
      return true;
    };
  };
  std::vector<std::string> before, after;
  EntryBounds september;
  september.to_ns = segment_start_ns(202610);
  ASSERT_TRUE(ledger_->read_entries(september, texts(before)).ok());
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  ASSERT_TRUE(read_archive(archive_path(), {}, texts(after)).ok());
  EXPECT_EQ(before.size(), 8u);
  EXPECT_EQ(before, after);
}

TEST_F(ArchiveTest, TheCursorOfChangesGoesOn) {
  three_months();
  const std::int64_t last = ledger_->changes(0, 1'000)->next;
  ASSERT_TRUE(ledger_->archive("2026-12", archive_path()).ok());
  auto all = ledger_->changes(0, 1'000);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->entries.size(), 5u);  // of October and November
  EXPECT_EQ(all->next, last);
  call(7, 70);
  EXPECT_EQ(ledger_->changes(last, 10)->entries.size(), 2u);
  EXPECT_EQ(ledger_->changes(last, 10)->next, last + 2);
}

TEST_F(ArchiveTest, NumbersOfCommitsGoOnWhereAllWasArchived) {
  call(1, 10);
  const std::int64_t last = ledger_->changes(0, 1'000)->next;
  clock_.advance(30 * kDay);
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  EXPECT_EQ(ledger_->changes(0, 1'000)->entries.size(), 0u);
  call(2, 20);
  EXPECT_EQ(ledger_->changes(last, 10)->entries.size(), 2u);
}

// A window of an hour whose slots were archived, then folded, then given money back.
TEST_F(ArchiveTest, FoldedSlotsKeepWhatWasArchived) {
  for (std::uint64_t n = 1; n <= 50; ++n) {
    call(n, 10);
    clock_.advance(60 * kSecond);
  }
  clock_.advance(30 * kDay);
  ASSERT_EQ(ledger_->archive("2026-10", archive_path())->entries, 100);
  EXPECT_EQ(ledger_->verify()->problems, std::vector<std::string>{});
  for (std::uint64_t n = 51; n <= 200; ++n) {  // the old slots go by
    call(n, 10);
    clock_.advance(60 * kSecond);
  }
  EXPECT_LE(ledger_->scopes()->size(), 2u * kRollingSlots + 10u);
  EXPECT_EQ(ledger_->verify()->problems, std::vector<std::string>{});
  clock_.advance(30 * kDay);
  ASSERT_TRUE(ledger_->archive("2026-11", archive_path()).ok());
  EXPECT_EQ(ledger_->verify()->problems, std::vector<std::string>{});
  EXPECT_TRUE(verify_archive(archive_path())->ok());
}

TEST_F(ArchiveTest, ARefundInBetweenIsCopiedToo) {
  three_months();
  bool once = false;
  set_fault_hook([&](const char* label) {
    if (once || std::string_view(label) != "archive.copied") return;
    once = true;
    EXPECT_TRUE(ledger_->refund({.calls = {make_id(1)}, .amount = 3, .evidence = "late"}).ok());
  });
  auto done = ledger_->archive("2026-10", archive_path());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_TRUE(once);
  EXPECT_EQ(done->entries, 9);
  expect_books_right();
  expect_archive_right(9);
}

TEST_F(ArchiveTest, AMonthInTwoArchivesIsReadOnce) {
  three_months();
  const auto before = together({});
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  const std::string copy = directory_.file("copy.db");
  std::filesystem::copy_file(archive_path(), copy);
  EXPECT_EQ(together({archive_path(), copy}), before);
  EXPECT_EQ(together({copy, archive_path(), copy}), before);
}

TEST_F(ArchiveTest, AMonthThatGoesWhileItIsReadIsNoticed) {
  three_months();
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  settle(5, 50);
  const std::string paths[] = {archive_path()};
  bool once = false;
  const Status status = ledger_->read_entries({.archives = paths}, [&](auto) {
    if (!std::exchange(once, true)) {
      EXPECT_TRUE(ledger_->archive("2026-11", archive_path()).ok());
    }
    return true;
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_EQ(together().first, 14);
}

TEST_F(ArchiveTest, WhatIsRefused) {
  three_months();
  for (const char* before : {"", "2026", "2026-13", "2026-00", "26-09", "2026-9", "202609x"}) {
    EXPECT_EQ(ledger_->archive(before, archive_path()).status().code(),
              absl::StatusCode::kInvalidArgument)
        << before;
  }
  EXPECT_FALSE(std::filesystem::exists(archive_path()));
  for (const char* suffix : {"", "-lock", "-wal"}) {
    EXPECT_EQ(ledger_->archive("2026-10", directory_.file() + suffix).status().code(),
              absl::StatusCode::kInvalidArgument)
        << suffix;
  }
  // The locks of the live file are still ours.
  EXPECT_EQ(ledger_->live_engines(), 1);
  KeepingSink sink;
  LedgerOptions another = options();
  another.path = directory_.file("other.db");
  auto other = open_ledger(another, &sink);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  EXPECT_EQ(read_archive(directory_.file("other.db"), {}, [](auto) { return true; }).code(),
            absl::StatusCode::kInvalidArgument);  // a ledger, not an archive
  EXPECT_EQ(verify_archive(directory_.file("none.db")).status().code(),
            absl::StatusCode::kNotFound);
  (*other)->reserve({.token = 1, .call_id = make_id(1), .amount = 0, .labels = plain_labels()});
  (*other)->pump();
  (*other)->finish({.call_id = make_id(1), .kind = EntryKind::kVoid});
  (*other)->pump();
  clock_.advance(30 * kDay);
  EXPECT_EQ((*other)->archive("2026-12", archive_path()).status().code(),
            absl::StatusCode::kInvalidArgument);  // another ledger's
  (*other)->close();
  auto memory = *open_ledger({.path = ":memory:", .admit = &plain_admit, .threaded = false}, &sink);
  EXPECT_TRUE(memory->archive("2026-10", archive_path())->months.empty());
  memory->close();
}

TEST_F(ArchiveTest, VerifySeesAChangedArchive) {
  three_months();
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  EXPECT_EQ(run_sql(archive_path(), "UPDATE entries_202609 SET amount = 11 WHERE amount = 10"), 1);
  EXPECT_EQ(verify_archive(archive_path())->problems.size(), 3u);  // in each of the call's scopes
}

class ArchiveCrash : public ArchiveTest, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Labels, ArchiveCrash,
                         ::testing::Values("archive.copied", "archive.before_commit",
                                           "archive.after_commit"));

TEST_P(ArchiveCrash, IsFinishedByTheNextRun) {
  three_months();
  ledger_->close();
  const pid_t pid = ::fork();
  if (pid == 0) {
    open();
    set_fault_hook([](const char* label) {
      if (std::string_view(label) == GetParam()) ::kill(::getpid(), SIGKILL);
    });
    (void)ledger_->archive("2026-10", archive_path());
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status)) << GetParam() << " was not passed";
  open();
  expect_books_right();
  expect_archive_right(8);  // the copy was whole before anything was dropped
  // Eight of September, two of each later call (5 is in doubt since its owner died): none twice.
  EXPECT_EQ(together(), std::pair(std::int64_t{14}, Nanousd{10 + 20 + 30 + 40 + 60}));
  const bool dropped = std::string_view(GetParam()) == "archive.after_commit";
  EXPECT_EQ(live(), dropped ? "4 5 6 " : "1 2 3 4 5 6 90 ");
  ASSERT_TRUE(ledger_->archive("2026-10", archive_path()).ok());
  EXPECT_EQ(live(), "4 5 6 ");
  EXPECT_EQ(archived(), "1 2 3 90 ");
  expect_books_right();
  expect_archive_right(8);
}

class ArchiveDisk : public ArchiveTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, ArchiveDisk,
                         ::testing::Values(SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC));

TEST_P(ArchiveDisk, ThatRefusesLosesNothing) {
  three_months();
  ledger_->close();
  FailingDisk disk;
  open();
  int failures = 0;
  for (int after = 0; after < 200; ++after) {
    disk.fail(GetParam(), after);
    auto done = ledger_->archive("2026-10", archive_path());
    disk.heal();
    expect_books_right();
    if (HasFailure()) FAIL() << "after " << after;
    if (done.ok() && !done->months.empty()) break;
    ++failures;
    EXPECT_EQ(live(), "1 2 3 4 5 6 90 ") << after;
  }
  EXPECT_GT(failures, GetParam() == SQLITE_IOERR_FSYNC ? 3 : 10);
  EXPECT_EQ(live(), "4 5 6 ");
  EXPECT_EQ(archived(), "1 2 3 90 ");
  expect_archive_right(8);
  ledger_->close();
  ledger_ = nullptr;
  hour_ = month_ = video_ = nullptr;
}

}  // namespace
}  // namespace sluiceway::store
