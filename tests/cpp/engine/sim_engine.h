// An engine without threads, sockets or time: a scripted transport, a ledger in memory, a manual
// clock.
//
// The script sees every request that is started and answers with a timeline; run() takes turns
// until nothing is left to do or the given span of simulated time has passed. Prices: 1,000,000,000
// nano-dollars ($1) per million input tokens, $2 per million output tokens, so 1,000 nano-dollars a
// token in and 2,000 out.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "http/fake_transport.h"
#include "support/units.h"

namespace sluiceway::engine {

// 2026-11-22T00:00:00Z.
constexpr std::int64_t kWall = 1'795'305'600 * kSecond;

inline std::string chat_body(int input, int output, const std::string& text = "hello") {
  return R"({"id":"c1","created":1795305600,"model":"m-1","choices":[{"message":{"content":")" +
         text + R"("},"finish_reason":"stop"}],"usage":{"prompt_tokens":)" + std::to_string(input) +
         R"(,"completion_tokens":)" + std::to_string(output) + "}}";
}

inline DialectSpec chat_dialect() {
  DialectSpec spec;
  spec.name = "chat";
  spec.text = "/choices/0/message/content";
  spec.finish_reason = "/choices/0/finish_reason";
  spec.finish_cut = {"length"};
  spec.model = "/model";
  spec.created_s = "/created";
  spec.usage = {{"input", "/usage/prompt_tokens - /usage/prompt_tokens_details/cached_tokens"},
                {"cache_read", "/usage/prompt_tokens_details/cached_tokens"},
                {"output", "/usage/completion_tokens"}};
  spec.request_id_headers = {"x-request-id"};
  spec.error_type = "/error/type";
  spec.error_code = "/error/code";
  spec.error_message = "/error/message";
  spec.classes = {{{429}, {}, {"insufficient_quota"}, "", "no_money"},
                  {{429}, {}, {}, "Request too large", "too_large"}};
  spec.stream_end_data = "[DONE]";
  spec.stream_error_at = "/error";
  spec.stream_text = {{"*", "/choices/0/delta/content"}};
  spec.stream_finish_reason = {{"*", "/choices/0/finish_reason"}};
  spec.stream_usage_at = {{"*", ""}};
  return spec;
}

inline std::shared_ptr<Route> chat_route(const std::string& url) {
  auto route = std::make_shared<Route>();
  route->provider = "p";
  route->account = "default";
  route->model = "m";
  route->operation = "chat";
  route->url = *http::Url::parse(url);
  route->dialect = *Dialect::compile(chat_dialect());
  auto sheet = std::make_shared<cost::PriceSheet>();
  sheet->provider = "p";
  sheet->model = "m";
  cost::PriceRow row;
  row.version = "p/m@1";
  row.rate[static_cast<std::size_t>(Bucket::kInput)] = 1'000'000'000;
  row.rate[static_cast<std::size_t>(Bucket::kCacheRead)] = 100'000'000;
  row.rate[static_cast<std::size_t>(Bucket::kOutput)] = 2'000'000'000;
  sheet->rows.push_back(row);
  route->sheet = sheet;
  route->breaker = std::make_shared<limits::CircuitBreaker>();
  route->account_breaker = std::make_shared<limits::CircuitBreaker>(
      limits::BreakerConfig{.failure_threshold = 0, .failure_percent = 0});
  route->retry_budget = std::make_shared<limits::RetryBudget>(100);
  auto labels = std::make_shared<store::CallLabels>();
  labels->provider = "p";
  labels->model = "m";
  labels->operation = "chat";
  labels->tenant = "default";
  route->labels = labels;
  return route;
}

class SimEngine {
 public:
  using Script = http::FakeTransport::Script;

  explicit SimEngine(Script script, store::LedgerOptions ledger = {.path = ":memory:"})
      : clock_(kSecond, kWall), random_(7) {
    auto transport = std::make_unique<http::FakeTransport>(clock_, std::move(script));
    wire = transport.get();
    EngineOptions options;
    options.ledger = std::move(ledger);
    options.threaded = false;
    options.clock = &clock_;
    options.random = &random_;
    options.transport = std::move(transport);
    auto started = Engine::start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status().ToString();
    engine = *std::move(started);
    route_ = make_route();
  }
  ~SimEngine() { engine->close(0); }

  std::shared_ptr<Route> make_route() { return chat_route("http://provider.invalid/v1/chat"); }

  CallRequest request(Nanousd ceiling = 1'000'000) {
    CallRequest out;
    out.route = route_;
    out.call_id = out.intent_id = engine->new_id();
    out.body = "{}";
    out.ceiling = ceiling;
    out.deadline_ns = clock_.monotonic_ns() + 30 * kSecond;
    out.amounts[static_cast<std::size_t>(limits::Dimension::kRequests)] = 1;
    out.amounts[static_cast<std::size_t>(limits::Dimension::kConcurrency)] = 1;
    return out;
  }
  std::shared_ptr<Call> submit(CallRequest request) {
    auto call = std::make_shared<Call>(std::move(request));
    engine->submit(call);
    return call;
  }
  std::shared_ptr<Call> submit() { return submit(request()); }

  // Turns until the engine is idle, or `span_ns` of simulated time has passed.
  void run(std::int64_t span_ns = 60 * kSecond) {
    const std::int64_t until = clock_.monotonic_ns() + span_ns;
    for (int turns = 0; turns < 100'000; ++turns) {
      const std::int64_t left = until - clock_.monotonic_ns();
      engine->turn(left > 0 ? left : 0);
      if (left <= 0) return;
      if (engine->idle() && wire->next_step_ns() < 0) return settle_books();
    }
    FAIL() << "the engine does not come to rest";
  }
  void settle_books() {
    for (int i = 0; i < 4; ++i) engine->turn(0);
    engine->ledger().flush(0).IgnoreError();
  }
  std::shared_ptr<store::Scope> scope(const std::string& key, Nanousd limit) {
    auto opened = engine->ledger().open_scope({.kind = "job", .key = key, .limit = limit});
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return *opened;
  }
  ScopeBalance balance(const store::Scope& scope) {
    settle_books();
    return *engine->ledger().balance(scope);
  }
  void expect_books_agree() {
    settle_books();
    const auto report = engine->ledger().verify();
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    for (const auto& problem : report->problems) ADD_FAILURE() << problem;
  }

  Route& route() { return *route_; }
  ManualClock& clock() { return clock_; }
  std::shared_ptr<Engine> engine;
  http::FakeTransport* wire = nullptr;

 private:
  ManualClock clock_;
  SeededRandom random_;
  std::shared_ptr<Route> route_;
};

inline http::FakeTimeline answers(int status, std::string body,
                                  std::vector<http::Header> headers = {}) {
  return http::FakeTimeline().sent(kMs).executed(2 * kMs).answer(10 * kMs, status, std::move(body),
                                                                 std::move(headers));
}

}  // namespace sluiceway::engine
