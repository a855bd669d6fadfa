// The engine with its thread, over loopback: callers' threads that come in while it sleeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

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

// The thread that submits does the engine's work, which then needs no bell: one a call before.
TEST_P(VisitTest, ALoneCallerDoesNotRing) {
  constexpr int kCalls = 200, kRounds = 20;
  const auto& wakes = loop.engine->counters().wakes;
  std::uint64_t least = kCalls;
  int rounds = 0;
  // A busy machine may let the engine's thread work whenever the caller comes, who then rings; not
  // round after round. With a file the writer's verdict may come while the caller is still inside,
  // which rings as well.
  do {
    const std::uint64_t before = wakes.load();
    for (int i = 0; i < kCalls; ++i) {
      const auto call = loop.submit();
      ASSERT_TRUE(call->wait(kPatienceNs, false));
      ASSERT_EQ(call->ending().kind, ErrorKind::kNone) << call->ending().message;
      EXPECT_EQ(call->ending().cost, kCost);
    }
    least = std::min(least, wakes.load() - before);
  } while (++rounds < kRounds && !GetParam() && least >= kCalls / 2);
  EXPECT_EQ(loop.server.executions, rounds * kCalls);
  if (!GetParam()) {
    EXPECT_LT(least, std::uint64_t{kCalls / 2});
  }
}

TEST_P(VisitTest, ManyCallersAndCancels) {
  storm(loop, 6, [](int) {});
}

}  // namespace
}  // namespace sluiceway::engine
