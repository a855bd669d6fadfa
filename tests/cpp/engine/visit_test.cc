// The engine with its thread, over loopback: callers' threads that come in while it sleeps.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "loopback.h"

namespace sluiceway::engine {
namespace {

class VisitTest : public testing::TestWithParam<bool> {
 protected:
  store::ScratchDirectory folder;
  Loopback loop{GetParam() ? folder.file() : std::string(":memory:")};
};

INSTANTIATE_TEST_SUITE_P(Ledgers, VisitTest, testing::Bool(),
                         [](const auto& ledger) { return ledger.param ? "file" : "memory"; });

// The thread that submits does the engine's work, which then needs no bell: one a call before.
TEST_P(VisitTest, ALoneCallerDoesNotRing) {
  constexpr int kCalls = 200;
  for (int i = 0; i < kCalls; ++i) {
    const auto call = loop.submit();
    ASSERT_TRUE(call->wait(kPatienceNs, false));
    ASSERT_EQ(call->ending().kind, ErrorKind::kNone) << call->ending().message;
    EXPECT_EQ(call->ending().cost, kCost);
  }
  EXPECT_EQ(loop.server.executions, kCalls);
  // With a file the writer's verdict may come while the caller is still inside, which rings.
  if (!GetParam()) {
    EXPECT_LT(loop.engine->counters().wakes.load(), std::uint64_t{kCalls / 2});
  }
}

TEST_P(VisitTest, ManyCallersAndCancels) {
  constexpr int kThreads = 6, kCalls = 100;
  std::atomic<int> done{0}, other{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const auto first = loop.submit(), second = loop.submit();
        if ((i + t) % 5 == 0) loop.engine->cancel(*second);
        for (const auto& call : {first, second}) {
          if (!call->wait(kPatienceNs, false)) return;  // the sum below tells
          ++(call->ending().kind == ErrorKind::kNone ? done : other);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done + other, 2 * kThreads * kCalls);
  EXPECT_GE(done, kThreads * kCalls);
  EXPECT_LE(other, kThreads * kCalls / 5);
  EXPECT_LE(loop.server.executions, done + other);
  ASSERT_TRUE(loop.engine->ledger().flush(kPatienceNs).ok());
  const ScopeBalance balance = *loop.engine->ledger().balance(*loop.scope);
  EXPECT_EQ(balance.settled, done * kCost);
  EXPECT_EQ(balance.held, 0);
  EXPECT_LE(balance.in_doubt, other * 1'000'000);
  const auto report = loop.engine->ledger().verify();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_TRUE(report->problems.empty()) << report->problems.front();
  loop.engine->close(kPatienceNs);
}

}  // namespace
}  // namespace sluiceway::engine
