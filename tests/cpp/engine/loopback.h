// An engine with its thread, before a server on loopback that answers every call with the same.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/raw_server.h"
#include "sim_engine.h"
#include "store/store_testing.h"

namespace sluiceway::engine {

constexpr std::int64_t kPatienceNs = 60 * kSecond;
constexpr Nanousd kCost = 120'000;  // 100 tokens in, 10 out

struct Loopback {
  explicit Loopback(const std::string& ledger_path)
      : server([this](http::RawConnection& connection) {
          while (connection.read_request()) {
            ++server.executions;
            while (hold) std::this_thread::yield();
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

  std::shared_ptr<Call> submit(std::shared_ptr<const http::Body> parts = nullptr) {
    CallRequest request;
    request.route = route;
    request.call_id = request.intent_id = engine->new_id();
    request.body = "{}";
    request.parts = std::move(parts);
    request.ceiling = 1'000'000;
    request.deadline_ns = engine->clock().monotonic_ns() + kPatienceNs;
    request.scopes = {scope};
    auto call = std::make_shared<Call>(std::move(request));
    engine->submit(call);
    return call;
  }

  std::atomic<bool> hold{false};  // answers wait
  http::RawServer server;
  std::shared_ptr<Route> route;
  std::shared_ptr<Engine> engine;
  std::shared_ptr<store::Scope> scope;
};

constexpr int kStormCalls = 100;

// `thread_count` threads that each make kStormCalls pairs of calls and cancel every fifth pair's
// second; `before(i)` runs before each pair. Looks at the books, and closes the engine.
template <typename Before>
void storm(Loopback& origin, int thread_count, const Before& before) {
  std::atomic<int> done{0}, other{0};
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(thread_count));
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kStormCalls; ++i) {
        before(i);
        const auto first = origin.submit(), second = origin.submit();
        if ((i + t) % 5 == 0) origin.engine->cancel(*second);
        for (const auto& call : {first, second}) {
          if (!call->wait(kPatienceNs, false)) return;  // the sum below tells
          ++(call->ending().kind == ErrorKind::kNone ? done : other);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done + other, 2 * thread_count * kStormCalls);
  EXPECT_GE(done, thread_count * kStormCalls);
  EXPECT_LE(other, thread_count * kStormCalls / 5);
  EXPECT_LE(origin.server.executions, done + other);
  const absl::Status flushed = origin.engine->ledger().flush(kPatienceNs);
  ASSERT_TRUE(flushed.ok()) << flushed.ToString();
  const ScopeBalance balance = *origin.engine->ledger().balance(*origin.scope);
  EXPECT_EQ(balance.settled, done * kCost);
  EXPECT_EQ(balance.held, 0);
  EXPECT_LE(balance.in_doubt, other * 1'000'000);
  const auto report = origin.engine->ledger().verify();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_TRUE(report->problems.empty()) << report->problems.front();
  origin.engine->close(kPatienceNs);
}

}  // namespace sluiceway::engine
