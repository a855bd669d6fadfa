// The engine with its thread, over loopback: callers' threads that come in while it sleeps.
#include <gtest/gtest.h>

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
  storm(loop, 6, [](int) {});
}

}  // namespace
}  // namespace sluiceway::engine
