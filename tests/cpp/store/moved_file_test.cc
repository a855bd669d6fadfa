// A ledger file that is removed or replaced under a running engine: nothing more is admitted, since
// whoever opens the path now has other books.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class MovedFile : public LedgerFixture {
 protected:
  void SetUp() override {
    LedgerFixture::SetUp();
    day_ = scope({.kind = "day", .limit = 1'000});
    ASSERT_EQ(ask(1, 600, {day_}), Verdict::kAdmitted);
  }
  // What a reservation that fits is told.
  Verdict told(std::uint64_t n) {
    reserve(n, 300, {day_});
    ledger_->pump();
    return sink_.wait(n);
  }
  void expect_refused(std::uint64_t n) {
    const Verdict verdict = told(n);
    ASSERT_EQ(verdict.kind, Verdict::kUnavailable);
    const std::string message(verdict.error.message());
    EXPECT_NE(message.find(directory_.file()), std::string::npos) << message;
    EXPECT_NE(message.find("removed or replaced"), std::string::npos) << message;
  }

  std::shared_ptr<Scope> day_;
};

TEST_F(MovedFile, NothingIsAdmittedWhileItIsAway) {
  std::filesystem::rename(directory_.file(), directory_.file("away.db"));
  expect_refused(2);
  expect_refused(3);
  EXPECT_FALSE(std::filesystem::exists(directory_.file()));  // and none is made in its place
  ledger_->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 600});
  ledger_->pump();
  std::filesystem::rename(directory_.file("away.db"), directory_.file());
  clock_.advance(kSecond);
  EXPECT_EQ(told(4).kind, Verdict::kAdmitted);
  expect_balance(*day_, 600, 300, 0);  // the settlement was not lost
  expect_books_right();
}

TEST_F(MovedFile, AnotherFileInItsPlaceIsNotWrittenTo) {
  std::filesystem::remove(directory_.file());
  KeepingSink other_sink;
  auto other = open_ledger(options(), &other_sink);  // a new file of the same path
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.status().message().find("was replaced"), absl::string_view::npos);
  std::filesystem::remove(directory_.file("ledger.db-lock"));  // who removes this too is let in
  other = open_ledger(options(), &other_sink);
  ASSERT_TRUE(other.ok()) << other.status();
  auto fresh = (*other)->open_scope({.kind = "day", .limit = 1'000});
  ASSERT_TRUE(fresh.ok());
  expect_refused(2);
  expect_refused(3);
  const ScopeBalance balance = *(*other)->balance(**fresh);
  EXPECT_EQ(balance.settled + balance.held + balance.in_doubt, 0);
  (*other)->close();
}

}  // namespace
}  // namespace sluiceway::store
