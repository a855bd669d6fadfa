// The life of a call before and around the wire: budgets, limits, cancels, flights, idempotency,
// shutdown.
#include "sim_engine.h"

namespace sluiceway::engine {
namespace {

using http::FakeStart;
using http::FakeTimeline;
using http::Request;

SimEngine::Script always_ok() {
  return [](const Request&, const FakeStart&) { return answers(200, chat_body(100, 10)); };
}

TEST(Budget, ABurstAdmitsOnlyWhatFits) {
  SimEngine sim(always_ok());
  const auto scope = sim.scope("1", 3'500'000);
  std::vector<std::shared_ptr<Call>> calls;
  for (int i = 0; i < 10; ++i) {
    auto request = sim.request(1'000'000);
    request.scopes = {scope};
    calls.push_back(sim.submit(std::move(request)));
  }
  sim.run();
  int admitted = 0;
  for (const auto& call : calls) {
    if (call->ending().kind == ErrorKind::kNone) {
      ++admitted;
      continue;
    }
    EXPECT_EQ(call->ending().kind, ErrorKind::kBudgetExceeded);
    EXPECT_EQ(call->ending().outcome, Outcome::kNeverSent);
    ASSERT_NE(call->ending().budget, nullptr);
    EXPECT_EQ(call->ending().budget->scope, "job:1");
    EXPECT_EQ(call->ending().budget->balance.limit, 3'500'000);
  }
  EXPECT_EQ(admitted, 3);
  EXPECT_EQ(sim.wire->executions(), 3u);
  sim.expect_books_agree();
}

TEST(Budget, WaitingCallsGoWhenMoneyComesBack) {
  SimEngine sim(always_ok());
  const auto scope = sim.scope("1", 1'500'000);
  std::vector<std::shared_ptr<Call>> calls;
  for (int i = 0; i < 5; ++i) {
    auto request = sim.request(1'000'000);
    request.scopes = {scope};
    request.on_exceed = OnExceed::kWait;
    calls.push_back(sim.submit(std::move(request)));
  }
  sim.run();
  // Each settles at 120,000: after five, 600,000 is spent; every ceiling fitted in its turn.
  for (const auto& call : calls) EXPECT_EQ(call->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(sim.balance(*scope).settled, 600'000);
}

TEST(Budget, WaitingEndsWhereSettledMoneyAloneFillsTheScope) {
  SimEngine sim(always_ok());
  const auto scope = sim.scope("1", 1'100'000);
  for (int i = 0; i < 2; ++i) {
    auto request = sim.request(1'000'000);
    request.scopes = {scope};
    request.on_exceed = OnExceed::kWait;
    const auto call = sim.submit(std::move(request));
    sim.run();
    EXPECT_EQ(call->ending().kind, i == 0 ? ErrorKind::kNone : ErrorKind::kBudgetExceeded);
  }
}

TEST(Budget, WaitingIsForTheNextWindowWhereThatIsInTime) {
  SimEngine sim(always_ok());
  const auto hour = *sim.engine->ledger().open_scope(
      {.kind = "user", .key = "7", .limit = 1'100'000, .period = Period::kHour});
  sim.clock().advance(3'590 * kSecond);  // ten seconds before 01:00
  const auto call = [&](std::int64_t timeout_ns) {
    auto request = sim.request(1'000'000);
    request.scopes = {hour};
    request.on_exceed = OnExceed::kWait;
    request.deadline_ns = sim.clock().monotonic_ns() + timeout_ns;
    const auto submitted = sim.submit(std::move(request));
    sim.run();
    return submitted->ending().kind;
  };
  EXPECT_EQ(call(5 * kSecond), ErrorKind::kNone);            // 120,000 of 1,100,000 are spent
  EXPECT_EQ(call(5 * kSecond), ErrorKind::kBudgetExceeded);  // the hour ends later than that
  const std::int64_t before_ns = sim.clock().wall_ns();
  EXPECT_EQ(call(30 * kSecond), ErrorKind::kNone);
  EXPECT_GE(sim.clock().wall_ns(), kWall + 3'600 * kSecond);
  EXPECT_LT(sim.clock().wall_ns() - before_ns, 11 * kSecond);
}

TEST(Budget, WaitingIsForTheSlotsOfARollingWindowToPass) {
  SimEngine sim(always_ok());
  const auto minute = *sim.engine->ledger().open_scope(
      {.kind = "user", .key = "7", .limit = 1'100'000, .rolling_ns = 60 * kSecond});
  std::vector<std::shared_ptr<Call>> calls;
  for (int i = 0; i < 2; ++i) {
    auto request = sim.request(1'000'000);
    request.scopes = {minute};
    request.on_exceed = OnExceed::kWait;
    request.deadline_ns = sim.clock().monotonic_ns() + 120 * kSecond;
    calls.push_back(sim.submit(std::move(request)));
    sim.run(5 * kSecond);
  }
  EXPECT_EQ(calls[0]->ending().kind, ErrorKind::kNone);
  EXPECT_FALSE(calls[1]->done());
  sim.run(60 * kSecond);  // the first call's slot is outside after 61 seconds at most
  EXPECT_EQ(calls[1]->ending().kind, ErrorKind::kNone);
}

TEST(Budget, OnlyTheNamedScopesAreWaitedFor) {
  SimEngine sim(always_ok());
  const auto patient = sim.scope("patient", 1'500'000);
  const auto strict = sim.scope("strict", 1'500'000);
  for (const std::uint32_t waiting : {0b01u, 0b10u}) {
    std::vector<std::shared_ptr<Call>> calls;
    for (int i = 0; i < 2; ++i) {
      auto request = sim.request(1'000'000);
      request.scopes = {strict, patient};  // strict refuses first
      request.on_exceed = OnExceed::kWait;
      request.waiting_scopes = waiting;
      calls.push_back(sim.submit(std::move(request)));
    }
    sim.run();
    EXPECT_EQ(calls[0]->ending().kind, ErrorKind::kNone);
    EXPECT_EQ(calls[1]->ending().kind,
              waiting == 0b01u ? ErrorKind::kNone : ErrorKind::kBudgetExceeded);
  }
}

TEST(Budget, AnOverrunIsRecordedInFullAndBlocksTheScope) {
  SimEngine sim([](const Request&, const FakeStart&) { return answers(200, chat_body(100, 600)); });
  const auto scope = sim.scope("1", 10'000'000);
  auto request = sim.request(1'000'000);
  request.scopes = {scope};
  const auto call = sim.submit(std::move(request));
  sim.run();
  EXPECT_EQ(call->ending().cost, 1'300'000);
  EXPECT_EQ(sim.balance(*scope).settled, 1'300'000);
  EXPECT_TRUE(sim.balance(*scope).blocked);
  auto again = sim.request(1'000);
  again.scopes = {scope};
  const auto refused = sim.submit(std::move(again));
  sim.run();
  EXPECT_EQ(refused->ending().kind, ErrorKind::kBudgetExceeded);
}

// The price doubles five seconds after the call began: who is under way then pays it.
TEST(Tariff, ACallPaysTheDearestOfItsInstants) {
  for (const bool straddles : {false, true}) {
    SimEngine sim([&](const Request&, const FakeStart&) {
      return FakeTimeline().sent(kMs).executed(2 * kMs).answer((straddles ? 6 : 4) * kSecond, 200,
                                                               chat_body(100, 10));
    });
    auto sheet = std::make_shared<cost::PriceSheet>(*sim.route().sheet);
    sheet->rows.push_back(sheet->rows[0]);
    sheet->rows[0].effective_to_ns = sheet->rows[1].effective_from_ns = kWall + 5 * kSecond;
    sheet->rows[1].factor_num = 2;
    sim.route().sheet = sheet;
    const auto scope = sim.scope("1", 10'000'000);
    CallRequest request = sim.request();
    request.scopes = {scope};
    const auto call = sim.submit(std::move(request));
    sim.run();
    // 100 x 1,000 + 10 x 2,000 nano-dollars; `created` says the beginning in both.
    EXPECT_EQ(call->ending().cost, straddles ? 240'000 : 120'000);
    EXPECT_EQ(sim.balance(*scope).settled, straddles ? 240'000 : 120'000);
    sim.expect_books_agree();
  }
}

TEST(Idempotency, ASecondUseOfAKeyNeverSends) {
  SimEngine sim(always_ok());
  auto first = sim.request();
  first.idempotency_key = "task-1";
  const auto one = sim.submit(std::move(first));
  sim.run();
  auto second = sim.request();
  second.idempotency_key = "task-1";
  const auto two = sim.submit(std::move(second));
  sim.run();
  EXPECT_EQ(two->ending().kind, ErrorKind::kAlreadySubmitted);
  EXPECT_EQ(two->ending().earlier_call, one->request.call_id);
  EXPECT_EQ(sim.wire->executions(), 1u);
}

TEST(Limits, TheQueueServesInTurnAndCorrectsTheEstimate) {
  std::vector<std::int64_t> starts;
  SimEngine sim([&](const Request&, const FakeStart& start) {
    starts.push_back(start.now_ns);
    return answers(200, chat_body(1, 1));
  });
  limits::LimitGroupConfig config;
  config.set_limit(limits::Dimension::kRequests, 60, 60 * kSecond, 6);
  auto group = std::make_shared<Group>();
  group->limits = std::make_shared<limits::LimitGroup>(config);
  sim.route().group = group;
  std::vector<std::shared_ptr<Call>> calls;
  calls.reserve(9);
  for (int i = 0; i < 9; ++i) calls.push_back(sim.submit());
  sim.run();
  for (const auto& call : calls) EXPECT_EQ(call->ending().kind, ErrorKind::kNone);
  ASSERT_EQ(starts.size(), 9u);
  // Six at once; then 54 a minute: the seventh 1.111 s after the sixth.
  EXPECT_EQ(starts[5], starts[0]);
  EXPECT_GE(starts[6] - starts[0], 1'111'000'000);
  EXPECT_GE(starts[8] - starts[0], 3'333'000'000);
  EXPECT_EQ(group->limits->snapshot(sim.clock().monotonic_ns()).in_flight, 0);
}

TEST(Limits, AWaitPastTheDeadlineIsRefusedAtOnce) {
  SimEngine sim(always_ok());
  limits::LimitGroupConfig config;
  config.set_limit(limits::Dimension::kRequests, 6, 60 * kSecond, 1);
  auto group = std::make_shared<Group>();
  group->limits = std::make_shared<limits::LimitGroup>(config);
  sim.route().group = group;
  const auto first = sim.submit();
  auto request = sim.request();
  request.deadline_ns = sim.clock().monotonic_ns() + 5 * kSecond;  // the wait is 12 s
  const auto second = sim.submit(std::move(request));
  sim.run(kMs);
  EXPECT_TRUE(second->done());
  EXPECT_EQ(second->ending().kind, ErrorKind::kLimited);
  EXPECT_EQ(second->ending().outcome, Outcome::kNeverSent);
  sim.run();
  EXPECT_EQ(first->ending().kind, ErrorKind::kNone);
}

TEST(Cancel, BeforeTheWireItVoidsAndAfterwardsItIsInDoubt) {
  SimEngine sim([](const Request&, const FakeStart&) { return FakeTimeline().sent(kSecond); });
  const auto scope = sim.scope("1", 10'000'000);
  auto early = sim.request();
  early.scopes = {scope};
  const auto unsent = sim.submit(std::move(early));
  sim.run(kMs);  // started, no byte left yet
  sim.engine->cancel(*unsent);
  sim.run(kMs);
  EXPECT_EQ(unsent->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(unsent->ending().outcome, Outcome::kNeverSent);
  EXPECT_EQ(sim.balance(*scope).held + sim.balance(*scope).in_doubt, 0);

  auto late = sim.request();
  late.scopes = {scope};
  const auto sent = sim.submit(std::move(late));
  sim.run(2 * kSecond);
  sim.engine->cancel(*sent);
  sim.run(kMs);
  EXPECT_EQ(sent->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(sent->ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(sim.balance(*scope).in_doubt, 1'000'000);
  sim.expect_books_agree();
}

CallRequest cached(SimEngine& sim, Nanousd ceiling = 1'000'000) {
  auto request = sim.request(ceiling);
  request.cache_ttl_ns = 60 * kSecond;
  request.cache_key = {1, 2, 3};
  return request;
}

TEST(Flight, IdenticalCallsShareOneTransferAndTheFirstPays) {
  SimEngine sim(always_ok());
  const auto a = sim.submit(cached(sim));
  const auto b = sim.submit(cached(sim));
  sim.run();
  EXPECT_EQ(a->ending().cache, CacheWord::kMiss);
  EXPECT_EQ(b->ending().cache, CacheWord::kJoined);
  EXPECT_EQ(a->ending().cost, 120'000);
  EXPECT_EQ(b->ending().cost, 0);
  EXPECT_EQ(b->ending().answer->text, "hello");
  EXPECT_EQ(sim.wire->executions(), 1u);
  EXPECT_NE(sim.engine->look_up({1, 2, 3}), nullptr);
  sim.clock().advance(60 * kSecond);
  EXPECT_EQ(sim.engine->look_up({1, 2, 3}), nullptr);
}

TEST(Flight, TheTransferOutlivesItsPayerAndEndsWithItsLastWaiter) {
  SimEngine sim([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).answer(kSecond, 200, chat_body(100, 10));
  });
  const auto payer = sim.submit(cached(sim));
  const auto joiner = sim.submit(cached(sim));
  sim.run(10 * kMs);
  sim.engine->cancel(*payer);
  sim.run();
  EXPECT_EQ(payer->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(joiner->ending().kind, ErrorKind::kNone);
  const auto c = sim.submit(cached(sim));
  const auto d = sim.submit(cached(sim));
  (void)sim.engine->cache().erase({1, 2, 3});
  sim.run(10 * kMs);
  sim.engine->cancel(*c);
  sim.engine->cancel(*d);
  sim.run(10 * kMs);
  EXPECT_TRUE(c->done() && d->done());
  EXPECT_EQ(sim.wire->stats().transfers_cancelled, 1u);
}

// 429, a pause, and then another attempt: the payer left during the first, the last who waits
// during the pause. Nobody is left to send it for, or to pay again.
TEST(Flight, IsNotTriedAgainForNobody) {
  SimEngine sim([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).answer(20 * kMs, 429, "{}");
  });
  sim.route().retry.attempts = 3;
  sim.route().retry.throttle_base_ns = 10 * kSecond;
  const auto scope = sim.scope("1", 10'000'000);
  auto asked = cached(sim);
  asked.scopes = {scope};
  const auto payer = sim.submit(std::move(asked));
  asked = cached(sim);
  asked.scopes = {scope};
  const auto joiner = sim.submit(std::move(asked));
  sim.run(10 * kMs);
  sim.engine->cancel(*payer);
  sim.run(30 * kMs);
  EXPECT_FALSE(joiner->done());
  sim.engine->cancel(*joiner);
  sim.run();
  EXPECT_EQ(joiner->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(sim.wire->stats().transfers_started, 1u);
  EXPECT_EQ(sim.balance(*scope).held + sim.balance(*scope).in_doubt, 0);
}

TEST(Flight, ASecondCancelOfThePayerIsNobodyElses) {
  SimEngine sim([](const Request&, const FakeStart&) {
    return FakeTimeline().sent(kMs).answer(kSecond, 200, chat_body(100, 10));
  });
  const auto payer = sim.submit(cached(sim));
  const auto joiner = sim.submit(cached(sim));
  sim.run(10 * kMs);
  sim.engine->cancel(*payer);
  sim.engine->cancel(*payer);
  sim.run();
  EXPECT_EQ(payer->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(joiner->ending().kind, ErrorKind::kNone);
}

TEST(Flight, ClosedOnTheWireIsInDoubtForAllOfThem) {
  SimEngine sim([](const Request&, const FakeStart&) { return FakeTimeline().sent(kMs); });
  const auto payer = sim.submit(cached(sim));
  const auto joiner = sim.submit(cached(sim));
  sim.run(10 * kMs);
  sim.engine->close(0);
  EXPECT_EQ(payer->ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(joiner->ending().outcome, Outcome::kInDoubt);
}

TEST(Flight, AClosingEngineTellsThoseWhosePayerHasLeft) {
  SimEngine sim(always_ok());
  limits::LimitGroupConfig config;
  config.set_limit(limits::Dimension::kRequests, 60, 60 * kSecond, 1);
  auto group = std::make_shared<Group>();
  group->limits = std::make_shared<limits::LimitGroup>(config);
  sim.route().group = group;
  const auto first = sim.submit();  // takes the one permit: the flight waits for the next
  const auto payer = sim.submit(cached(sim));
  const auto joiner = sim.submit(cached(sim));
  sim.run(kMs);
  sim.engine->cancel(*payer);
  sim.run(kMs);
  EXPECT_TRUE(payer->done());
  EXPECT_FALSE(joiner->done());
  sim.engine->close(0);
  EXPECT_TRUE(first->done());
  EXPECT_TRUE(joiner->done());
  EXPECT_EQ(joiner->ending().outcome, Outcome::kNeverSent);
}

TEST(Flight, APayerThatLeavesBeforeTheWireTakesItsReservationAlong) {
  SimEngine sim(always_ok());
  limits::LimitGroupConfig config;
  config.set_limit(limits::Dimension::kRequests, 60, 60 * kSecond, 1);
  auto group = std::make_shared<Group>();
  group->limits = std::make_shared<limits::LimitGroup>(config);
  sim.route().group = group;
  const auto first = sim.submit();  // takes the one permit: the flight waits for the next
  const auto payers = sim.scope("payer", 10'000'000), joiners = sim.scope("joiner", 10'000'000);
  auto asked = cached(sim);
  asked.scopes = {payers};
  const auto payer = sim.submit(std::move(asked));
  asked = cached(sim);
  asked.scopes = {joiners};
  const auto joiner = sim.submit(std::move(asked));
  sim.run(kMs);
  sim.engine->cancel(*payer);
  sim.run();
  EXPECT_EQ(payer->ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(payer->ending().outcome, Outcome::kNeverSent);
  EXPECT_EQ(joiner->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(joiner->ending().cost, 120'000);
  EXPECT_EQ(sim.balance(*payers).settled, 0);
  EXPECT_EQ(sim.balance(*joiners).settled, 120'000);
  sim.expect_books_agree();
}

TEST(Flight, ThePayersOwnErrorPromotesTheNext) {
  SimEngine sim(always_ok());
  const auto empty = sim.scope("poor", 10);
  auto poor = cached(sim);
  poor.scopes = {empty};
  const auto a = sim.submit(std::move(poor));
  const auto b = sim.submit(cached(sim));
  sim.run();
  EXPECT_EQ(a->ending().kind, ErrorKind::kBudgetExceeded);
  EXPECT_EQ(b->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(b->ending().cache, CacheWord::kMiss);
}

TEST(Shutdown, EveryCallEndsAndWhatWasSentStaysInDoubt) {
  SimEngine sim([](const Request&, const FakeStart&) { return FakeTimeline().sent(kMs); });
  const auto call = sim.submit();
  sim.run(10 * kMs);
  sim.engine->close(0);
  EXPECT_TRUE(call->done());
  EXPECT_EQ(call->ending().outcome, Outcome::kInDoubt);
  const auto late = sim.submit();
  EXPECT_EQ(late->ending().kind, ErrorKind::kClosed);
}

}  // namespace
}  // namespace sluiceway::engine
