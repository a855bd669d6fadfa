// The engine with its thread, over loopback: callers' threads that come in while it sleeps.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "http/raw_server.h"
#include "sim_engine.h"
#include "store/store_testing.h"

namespace sluiceway::engine {
namespace {

constexpr std::int64_t kPatienceNs = 60 * kSecond;
constexpr Nanousd kCost = 120'000;  // 100 tokens in, 10 out

struct Loopback {
  explicit Loopback(const std::string& ledger_path)
      : server([this](http::RawConnection& connection) {
          while (connection.read_request()) {
            ++server.executions;
            if (!connection.answer(chat_body(100, 10))) return;
          }
        }) {
    EngineOptions options;
    options.ledger.path = ledger_path;
    options.ledger.durability = store::Durability::kProcess;
    auto started = Engine::start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status().ToString();
    engine = *std::move(started);
    route = chat_route(server.url());
    scope = *engine->ledger().open_scope({.kind = "job", .key = "1", .limit = 1'000 * kSecond});
  }

  std::shared_ptr<Call> submit() {
    CallRequest request;
    request.route = route;
    request.call_id = request.intent_id = engine->new_id();
    request.body = "{}";
    request.ceiling = 1'000'000;
    request.deadline_ns = engine->clock().monotonic_ns() + kPatienceNs;
    request.scopes = {scope};
    auto call = std::make_shared<Call>(std::move(request));
    engine->submit(call);
    return call;
  }

  http::RawServer server;
  std::shared_ptr<Route> route;
  std::shared_ptr<Engine> engine;
  std::shared_ptr<store::Scope> scope;
};

class VisitTest : public testing::TestWithParam<bool> {
 protected:
  store::ScratchDirectory folder;
  Loopback loop{GetParam() ? folder.file() : std::string(":memory:")};
};

INSTANTIATE_TEST_SUITE_P(Ledgers, VisitTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "file" : "memory"; });

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
  if (!GetParam()) EXPECT_LT(loop.engine->counters().wakes.load(), std::uint64_t{kCalls / 2});
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
