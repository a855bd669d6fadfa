// An engine with its thread, before a server on loopback that answers every call with the same.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

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

}  // namespace sluiceway::engine
