// The engine with its thread, over loopback: callers' threads that come in while it sleeps.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "loopback.h"

namespace sluiceway::engine {
namespace {

class VisitTest : public testing::TestWithParam<bool> {
 public:
  store::ScratchDirectory folder;
  Loopback loop{GetParam() ? folder.file() : std::string(":memory:")};
};

INSTANTIATE_TEST_SUITE_P(Ledgers, VisitTest, testing::Bool(),
                         [](const auto& ledger) { return ledger.param ? "file" : "memory"; });

// The thread that submits does the engine's work, which then needs no bell: without that, one a
// call.
TEST_P(VisitTest, ALoneCallerDoesNotRing) {
  constexpr int kCalls = 50;
  const Counters& counters = loop.engine->counters();
  for (int i = 0; i < kCalls; ++i) {
    // Until the engine's thread is at rest: who comes while it lies down may ring.
    for (std::uint64_t seen = counters.turns + 1; seen != counters.turns;) {
      seen = counters.turns;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    const auto call = loop.submit();
    ASSERT_TRUE(call->wait(kPatienceNs, false));
    ASSERT_EQ(call->ending().kind, ErrorKind::kNone) << call->ending().message;
    EXPECT_EQ(call->ending().cost, kCost);
  }
  EXPECT_EQ(loop.server.executions, kCalls);
  // With a file the writer's verdict may come while the caller is still inside, which rings.
  if (!GetParam()) {
    EXPECT_LT(counters.wakes.load(), std::uint64_t{kCalls / 2});
  }
}

TEST_P(VisitTest, ManyCallersAndCancels) {
  storm(loop, 6, [](int) {});
}

}  // namespace
}  // namespace sluiceway::engine
