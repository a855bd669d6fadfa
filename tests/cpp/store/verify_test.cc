// The replay by slices: it agrees while calls are written, and finds what does not agree.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "store/run_sql.h"
#include "store/sqlite_reader.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class VerifySlices : public LedgerFixture {
 protected:
  LedgerOptions options() override {
    LedgerOptions options = LedgerFixture::options();
    options.clock = nullptr;  // the system's
    return options;
  }
  void open() override {
    ASSERT_NO_FATAL_FAILURE(LedgerFixture::open());
    scope_ = scope({.kind = "day", .limit = 1'000'000});
  }
  // Calls `first` to `last` of 10 each, reserved.
  void reserve(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n <= last; ++n) {
      ledger_->reserve({.token = n,
                        .call_id = make_id(n),
                        .amount = 10,
                        .scopes = {scope_},
                        .labels = plain_labels()});
    }
    ledger_->pump();
  }
  void settle(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n <= last; ++n) {
      ledger_->finish({.call_id = make_id(n), .kind = EntryKind::kSettle, .amount = 7});
    }
    ledger_->pump();
  }

  std::shared_ptr<Scope> scope_;
};

TEST_F(VerifySlices, AnySizeGivesTheSameAnswer) {
  reserve(1, 40);
  settle(1, 30);
  for (const std::size_t rows : {1, 2, 3, 7, 69, 70, 71, 1'000}) {
    SqliteReader reader(directory_.file());
    auto report = reader.verify(rows);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->problems, std::vector<std::string>{}) << rows;
    EXPECT_EQ(report->entries, 70) << rows;
    EXPECT_EQ(report->calls, 40) << rows;
    EXPECT_EQ(report->open, 10) << rows;
  }
}

// Each round settles old calls, whose slices have been read, and makes new ones.
TEST_F(VerifySlices, AgreesWhileCallsAreWritten) {
  reserve(1, 400);
  std::atomic<bool> stop = false;
  std::atomic<int> looks = 0;
  std::thread looker([&] {
    SqliteReader reader(directory_.file());
    while (!stop) {
      auto report = reader.verify(5);
      EXPECT_TRUE(report.ok()) << report.status();
      if (report.ok()) {
        EXPECT_EQ(report->problems, std::vector<std::string>{});
      }
      ++looks;
    }
  });
  for (std::uint64_t n = 0; n < 400 || looks < 5; ++n) {
    if (n < 400) settle(400 - n, 400 - n);
    reserve(401 + 2 * n, 402 + 2 * n);
  }
  stop = true;
  looker.join();
  expect_books_right();
}

TEST_F(VerifySlices, FindsAChangedBalanceAndHoldsThatAreMissing) {
  reserve(1, 20);
  settle(1, 10);
  run_sql(directory_.file(), "UPDATE balances SET settled = 71; DELETE FROM hold_packs");
  SqliteReader reader(directory_.file());
  auto report = reader.verify(3);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->problems.size(), 11u);  // ten calls without a hold, and a balance
}

TEST_F(VerifySlices, FindsAChangedBalanceAndChangedHolds) {
  reserve(1, 20);
  settle(1, 10);
  const std::string month = std::to_string(segment_of(SystemClock::instance().wall_ns()));
  run_sql(directory_.file(),
          "UPDATE balances SET settled = 71; DELETE FROM hold_packs;"
          "INSERT INTO holds SELECT call_id, 11, 0, 1, time_ns, labels, " +
              month + ", balances FROM entries_" + month +
              " WHERE kind = 0 AND call_id NOT IN (SELECT call_id FROM entries_" + month +
              " WHERE kind = 1)");
  SqliteReader reader(directory_.file());
  auto report = reader.verify(3);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->problems.size(), 11u);  // ten holds and a balance
}

}  // namespace
}  // namespace sluiceway::store
