// What happened on the wire decides who is billed and who is sent again: each class once, with its
// books.
#include "sim_engine.h"

namespace sluiceway::engine {
namespace {

using http::FakeStart;
using http::FakeTimeline;
using http::Request;
using http::TransferError;

// One call against one answer, with a budget to look at afterwards.
struct Once {
  explicit Once(SimEngine::Script script)
      : sim(std::move(script)), scope(sim.scope("1", 10'000'000)) {
    auto request = sim.request();
    request.scopes = {scope};
    call = sim.submit(std::move(request));
    sim.run();
  }
  SimEngine sim;
  std::shared_ptr<store::Scope> scope;
  std::shared_ptr<Call> call;
};

TEST(WireOutcomes, DoneSettlesAtThePriceOfTheUsage) {
  Once once([](const Request&, const FakeStart&) { return answers(200, chat_body(100, 10)); });
  ASSERT_TRUE(once.call->done());
  const Ending& end = once.call->ending();
  EXPECT_EQ(end.kind, ErrorKind::kNone) << end.message;
  EXPECT_EQ(end.outcome, Outcome::kDone);
  EXPECT_EQ(end.answer->text, "hello");
  EXPECT_EQ(end.cost, 120'000);  // 100 x 1,000 + 10 x 2,000
  EXPECT_EQ(end.held, 0);
  const ScopeBalance b = once.sim.balance(*once.scope);
  EXPECT_EQ(b.settled, 120'000);
  EXPECT_EQ(b.held + b.in_doubt, 0);
  once.sim.expect_books_agree();
}

TEST(WireOutcomes, CachedTokensInsideTheInputAreNotCountedTwice) {
  Once once([](const Request&, const FakeStart&) {
    return answers(200,
                   R"({"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{)"
                   R"("prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":40},)"
                   R"("completion_tokens":5}})");
  });
  EXPECT_EQ(once.call->ending().cost, 60 * 1'000 + 40 * 100 + 5 * 2'000);
}

TEST(WireOutcomes, NeverSentIsSentAgainAndExecutedOnce) {
  Once once([](const Request&, const FakeStart& start) {
    if (start.attempt == 1) return FakeTimeline().fail(kMs, TransferError::kConnect);
    return answers(200, chat_body(100, 10));
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kNone);
  ASSERT_EQ(once.call->ending().attempts.size(), 2u);
  EXPECT_EQ(once.call->ending().attempts[0].failure, Failure::kUnreached);
  EXPECT_EQ(once.sim.wire->executions(), 1u);
  EXPECT_EQ(once.sim.balance(*once.scope).settled, 120'000);
}

TEST(WireOutcomes, RefusedIsSentAgainAfterRetryAfter) {
  std::vector<std::int64_t> starts;
  Once once([&](const Request&, const FakeStart& start) {
    starts.push_back(start.now_ns);
    if (start.attempt == 1) {
      return FakeTimeline().sent(kMs).answer(10 * kMs, 429,
                                             R"({"error":{"message":"slow","type":"requests"}})",
                                             {{"retry-after", "2"}});
    }
    return answers(200, chat_body(1, 1));
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kNone);
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_GE(starts[1] - starts[0], 2 * kSecond + 10 * kMs);
}

TEST(WireOutcomes, NoMoneyIsA429ThatIsNotSentAgainAndOpensTheAccountsBreaker) {
  Once once([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).answer(
        10 * kMs, 429,
        R"({"error":{"message":"quota","type":"insufficient_quota","code":"insufficient_quota"}})");
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kNoMoney);
  EXPECT_EQ(once.call->ending().attempts.size(), 1u);
  EXPECT_EQ(once.sim.balance(*once.scope).settled, 0);
  const auto second = once.sim.submit();
  once.sim.run();
  EXPECT_EQ(second->ending().kind, ErrorKind::kBreakerOpen);
}

TEST(WireOutcomes, ResetAfterTheFirstByteIsInDoubtAndNeverSentAgain) {
  Once once([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).executed(2 * kMs).fail(5 * kMs, TransferError::kSendOrReceive);
  });
  const Ending& end = once.call->ending();
  EXPECT_EQ(end.kind, ErrorKind::kInDoubt);
  EXPECT_EQ(end.outcome, Outcome::kInDoubt);
  EXPECT_EQ(end.held, 1'000'000);
  EXPECT_EQ(end.attempts.size(), 1u);
  EXPECT_EQ(once.sim.wire->executions(), 1u);
  EXPECT_EQ(once.sim.balance(*once.scope).in_doubt, 1'000'000);
  once.sim.expect_books_agree();
}

TEST(WireOutcomes, A500IsInDoubtABare503TooAndA503WithItsOwnBodyIsSentAgain) {
  for (const int status : {500, 502, 504, 503}) {
    Once once([&](const Request&, const FakeStart&) { return answers(status, "<html>"); });
    EXPECT_EQ(once.call->ending().outcome, Outcome::kInDoubt) << status;
    EXPECT_EQ(once.call->ending().attempts.size(), 1u) << status;
    EXPECT_EQ(once.sim.balance(*once.scope).in_doubt, 1'000'000) << status;
  }
  Once once([](const Request&, const FakeStart& start) {
    if (start.attempt == 1) {
      return FakeTimeline().sent(kMs).answer(
          10 * kMs, 503, R"({"error":{"message":"busy","type":"service_unavailable_error"}})");
    }
    return answers(200, chat_body(1, 1));
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(once.call->ending().attempts.size(), 2u);
}

TEST(WireOutcomes, ACutBodyIsInDoubtWhateverItsStatus) {
  Once partial([](const Request&, const FakeStart&) {
    return FakeTimeline()
        .sent(kMs)
        .executed(kMs)
        .head(5 * kMs, 200)
        .body(6 * kMs, R"({"choices":[)")
        .fail(7 * kMs, TransferError::kPartialBody);
  });
  EXPECT_EQ(partial.call->ending().outcome, Outcome::kInDoubt);
  Once unreadable([](const Request&, const FakeStart&) { return answers(200, R"({"choices":[)"); });
  EXPECT_EQ(unreadable.call->ending().kind, ErrorKind::kInvalidResponse);
  EXPECT_EQ(unreadable.call->ending().held, 1'000'000);
}

TEST(WireOutcomes, AnAnswerWithoutUsageKeepsItsMoneyInDoubt) {
  Once once([](const Request&, const FakeStart&) {
    return answers(200, R"({"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]})");
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kNone);
  // For people: one token of 1,000 for the body "{}", one of 2,000 for the text "x".
  EXPECT_EQ(once.call->ending().cost, 3'000);
  EXPECT_EQ(once.call->ending().cost_source, CostSource::kEstimated);
  EXPECT_EQ(once.sim.balance(*once.scope).in_doubt, 1'000'000);
  EXPECT_EQ(once.sim.balance(*once.scope).settled, 0);
}

TEST(WireOutcomes, ABadRequestVoidsAndIsNotSentAgain) {
  Once once([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).answer(
        5 * kMs, 400, R"({"error":{"message":"no such parameter","type":"invalid_request_error"}})",
        {{"x-request-id", "req_9"}});
  });
  EXPECT_EQ(once.call->ending().kind, ErrorKind::kBadRequest);
  EXPECT_EQ(once.call->ending().message, "no such parameter");
  EXPECT_EQ(once.call->ending().request_id, "req_9");
  const ScopeBalance b = once.sim.balance(*once.scope);
  EXPECT_EQ(b.settled + b.held + b.in_doubt, 0);
}

TEST(WireOutcomes, ADeadlineInFlightIsInDoubtAndNeverEarly) {
  SimEngine sim([](const Request&, const FakeStart&) { return FakeTimeline().sent(kMs); });
  auto request = sim.request();
  request.deadline_ns = sim.clock().monotonic_ns() + 5 * kSecond;
  const std::int64_t deadline = request.deadline_ns;
  const auto call = sim.submit(std::move(request));
  sim.run();
  EXPECT_EQ(call->ending().kind, ErrorKind::kDeadlineExceeded);
  EXPECT_EQ(call->ending().outcome, Outcome::kInDoubt);
  EXPECT_GE(sim.clock().monotonic_ns(), deadline);
}

TEST(WireOutcomes, ASilenceLongerThanTheReadTimeoutEndsTheCall) {
  SimEngine sim([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).head(kSecond, 200).body(2 * kSecond, "{");
  });
  auto request = sim.request();
  request.read_timeout_ns = 3 * kSecond;
  const auto call = sim.submit(std::move(request));
  sim.run();
  EXPECT_EQ(call->ending().kind, ErrorKind::kDeadlineExceeded);
  EXPECT_EQ(call->ending().latency_ns, 5 * kSecond);
}

TEST(WireOutcomes, TheBreakerOpensOnTheFifthFailureAndOneProbeClosesIt) {
  bool healthy = false;
  SimEngine sim([&](const Request&, const FakeStart&) {
    return healthy ? answers(200, chat_body(1, 1)) : answers(500, "");
  });
  sim.route().breaker = std::make_shared<limits::CircuitBreaker>(
      limits::BreakerConfig{.recovery_timeout_ns = 2 * kSecond});
  for (int i = 0; i < 5; ++i) {
    const auto call = sim.submit();
    sim.run();
    EXPECT_EQ(call->ending().outcome, Outcome::kInDoubt);
  }
  auto refused = sim.submit();
  sim.run();
  EXPECT_EQ(refused->ending().kind, ErrorKind::kBreakerOpen);
  EXPECT_EQ(refused->ending().outcome, Outcome::kNeverSent);
  healthy = true;
  sim.clock().advance(2 * kSecond);
  const auto probe = sim.submit();
  const auto second = sim.submit();
  sim.run();
  EXPECT_EQ(probe->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(second->ending().kind, ErrorKind::kBreakerOpen);
  const auto after = sim.submit();
  sim.run();
  EXPECT_EQ(after->ending().kind, ErrorKind::kNone);
}

}  // namespace
}  // namespace sluiceway::engine
