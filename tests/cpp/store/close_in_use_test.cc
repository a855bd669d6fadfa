// A ledger that is closed while another thread reads it: the reader ends as if nothing had
// happened, and what was closed is ended by whoever leaves last.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "store/ledger.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

class CloseInUse : public ::testing::TestWithParam<bool> {
 protected:
  // Of a file or of memory, with `calls` settled calls.
  std::shared_ptr<Ledger> open(Durability durability = Durability::kProcess) {
    auto ledger = open_ledger({.path = GetParam() ? directory_.file() : ":memory:",
                               .durability = GetParam() ? durability : Durability::kMemory,
                               .admit = &plain_admit},
                              &sink_);
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return ledger.ok() ? *ledger : nullptr;
  }
  void fill(Ledger& ledger, std::uint64_t calls) {
    sink_.take();
    auto scope = *ledger.open_scope({.kind = "job", .key = "1", .limit = 1'000'000});
    for (std::uint64_t n = 0; n < calls; ++n) {
      ledger.reserve({.token = n, .call_id = make_id(n), .amount = 1, .scopes = {scope}});
      EXPECT_EQ(sink_.wait(n).kind, Verdict::kAdmitted);
      ledger.finish({.call_id = make_id(n), .kind = EntryKind::kSettle, .amount = 1});
    }
    EXPECT_TRUE(ledger.flush(60 * kSecond).ok());
  }
  // Whether no engine of this process has the file: another durability would be refused.
  bool is_ended() {
    auto other = open_ledger(
        {.path = directory_.file(), .durability = Durability::kPower, .admit = &plain_admit},
        &sink_);
    if (other.ok()) (*other)->close();
    return other.ok();
  }

  ScratchDirectory directory_;
  KeepingSink sink_;
};

TEST_P(CloseInUse, AReaderGoesOnToTheEnd) {
  const auto ledger = open();
  fill(*ledger, 20);
  std::promise<void> reading, closed;
  int rows = 0;
  Status status;
  std::thread reader([&] {
    status = ledger->read_entries({}, [&](std::span<const Entry> batch) {
      if (rows == 0) {
        reading.set_value();
        closed.get_future().wait();
      }
      rows += static_cast<int>(batch.size());
      return true;
    });
  });
  reading.get_future().wait();
  ledger->close();
  EXPECT_EQ(ledger->holds().status().code(), absl::StatusCode::kFailedPrecondition);
  if (GetParam()) {
    EXPECT_FALSE(is_ended());
  }
  closed.set_value();
  reader.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(rows, 40);  // a reservation and a settlement each
  if (GetParam()) {
    EXPECT_TRUE(is_ended());
  }
}

TEST_P(CloseInUse, AReaderMayCloseItself) {
  const auto ledger = open();
  fill(*ledger, 3);
  int rows = 0;
  EXPECT_TRUE(ledger
                  ->read_entries({},
                                 [&](std::span<const Entry> batch) {
                                   ledger->close();
                                   rows += static_cast<int>(batch.size());
                                   return true;
                                 })
                  .ok());
  EXPECT_EQ(rows, 6);
  if (GetParam()) {
    EXPECT_TRUE(is_ended());
  }
}

TEST_P(CloseInUse, OneThatOpensMeanwhileHasTheSameBooks) {
  if (!GetParam()) return;  // memory is nobody else's
  const auto ledger = open();
  fill(*ledger, 2);
  std::shared_ptr<Ledger> second;
  EXPECT_TRUE(ledger
                  ->read_entries({},
                                 [&](std::span<const Entry>) {
                                   ledger->close();
                                   second = open();
                                   return true;
                                 })
                  .ok());
  ASSERT_NE(second, nullptr);
  EXPECT_FALSE(is_ended());
  auto report = second->verify();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->problems.empty());
  second->close();
  EXPECT_TRUE(is_ended());  // though both handles are still there
}

TEST_P(CloseInUse, ManyReadersAndOneClose) {
  for (int round = 0; round < 20; ++round) {
    const auto ledger = open();
    if (round == 0 || !GetParam()) fill(*ledger, 5);
    std::vector<std::thread> readers;
    std::atomic<int> ready{0};
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&, i] {
        ++ready;
        while (true) {
          const Status status = i % 2 == 0 ? ledger->scopes().status() : ledger->verify().status();
          if (status.ok()) continue;
          EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
          return;
        }
      });
    }
    while (ready < 4) std::this_thread::yield();
    ledger->close();
    for (auto& reader : readers) reader.join();
    if (GetParam()) {
      EXPECT_TRUE(is_ended());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, CloseInUse, ::testing::Bool(), backend_name);

}  // namespace
}  // namespace sluiceway::store
