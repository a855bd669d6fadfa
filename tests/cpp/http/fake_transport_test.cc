// The scripted wire: order, time, pauses, cancels, executions.
#include "http/fake_transport.h"

#include <gtest/gtest.h>

#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

Request order(std::string body) { return post(url_of("http://fake.test/v1"), std::move(body)); }

TEST(FakeTransport, AnAnswerAtItsTime) {
  ManualClock clock(1'000);
  FakeTransport wire(clock, [](const Request&, const FakeStart&) {
    return FakeTimeline().sent(10).executed(20).answer(50, 200, "{}", {{"X-A", "1"}});
  });
  Request request = order("a");
  KeepingSink sink;
  wire.start(1, &request, &sink);
  EXPECT_EQ(wire.next_step_ns(), 1'010);
  wire.poll(-1);
  EXPECT_EQ(clock.monotonic_ns(), 1'010);
  wire.poll(5);
  EXPECT_EQ(clock.monotonic_ns(), 1'015);
  wire.poll(100);
  EXPECT_EQ(clock.monotonic_ns(), 1'020);
  EXPECT_EQ(wire.executions(), 1u);
  wire.poll(-1);
  EXPECT_EQ(clock.monotonic_ns(), 1'050);
  EXPECT_EQ(sink.ends, 1);
  EXPECT_EQ(sink.status, 200);
  EXPECT_EQ(sink.body, "{}");
  EXPECT_EQ(sink.headers.at(0).value, "1");
  EXPECT_TRUE(sink.end.complete && sink.end.request_started);
  EXPECT_EQ(sink.end.total_ns, 50);
  wire.poll(-1);  // nothing ahead: returns, and time stands still
  EXPECT_EQ(clock.monotonic_ns(), 1'050);
}

TEST(FakeTransport, EqualTimesRunInTheOrderOfTheStarts) {
  ManualClock clock;
  FakeTransport wire(clock, [](const Request& request, const FakeStart&) {
    return FakeTimeline().answer(request.body == "late" ? 8 : 5, 200, "");
  });
  std::string log;
  KeepingSink a, b, c;
  a.when_end = [&] { log += 'a'; };
  b.when_end = [&] { log += 'b'; };
  c.when_end = [&] { log += 'c'; };
  Request late = order("late"), soon = order("soon");
  wire.start(9, &late, &a);
  wire.start(7, &soon, &b);
  wire.start(3, &soon, &c);
  wire.poll(-1);
  wire.poll(-1);
  EXPECT_EQ(log, "bca");
}

TEST(FakeTransport, ACancelledRequestThatWasSentIsStillExecuted) {
  ManualClock clock;
  FakeTransport wire(clock, [](const Request&, const FakeStart&) {
    return FakeTimeline().sent(10).executed(20).answer(30, 200, "{}");
  });
  KeepingSink early, late;
  Request request = order("a");
  wire.start(1, &request, &early);
  wire.start(2, &request, &late);
  EXPECT_FALSE(wire.cancel(1));
  wire.poll(-1);
  EXPECT_TRUE(wire.cancel(2));
  while (wire.next_step_ns() >= 0) wire.poll(-1);
  EXPECT_EQ(wire.executions_of(1), 0u);
  EXPECT_EQ(wire.executions_of(2), 1u);
  EXPECT_EQ(early.ends + late.ends, 0);
  EXPECT_EQ(wire.stats().in_flight, 0u);
}

TEST(FakeTransport, AttemptsAreCountedByRequest) {
  ManualClock clock;
  std::vector<int> attempts;
  FakeTransport wire(clock, [&](const Request&, const FakeStart& start) {
    attempts.push_back(start.attempt);
    return FakeTimeline().fail(1, TransferError::kConnect);
  });
  KeepingSink sink;
  Request a = order("a"), b = order("b");
  wire.start(1, &a, &sink);
  wire.start(2, &b, &sink);
  wire.start(3, &a, &sink);
  wire.poll(-1);
  EXPECT_EQ(attempts, (std::vector<int>{1, 1, 2}));
  EXPECT_EQ(sink.ends, 3);
  EXPECT_FALSE(sink.end.request_started);
  EXPECT_EQ(sink.end.error, TransferError::kConnect);
}

TEST(FakeTransport, PauseHoldsBackDeliveriesNotFailures) {
  ManualClock clock;
  FakeTransport wire(clock, [](const Request& request, const FakeStart&) {
    FakeTimeline timeline;
    timeline.sent(1).head(2, 200).body(3, "one").body(4, "two");
    return request.body == "fails" ? timeline.fail(5, TransferError::kSendOrReceive)
                                   : timeline.end(5);
  });
  KeepingSink sink;
  Request request = order("a");
  sink.when_body = [&] { wire.pause(1); };
  wire.start(1, &request, &sink);
  for (int i = 0; i < 10; ++i) wire.poll(10);
  EXPECT_EQ(sink.body, "one");
  wire.resume(1);
  wire.poll(0);
  EXPECT_EQ(sink.body, "onetwo");
  EXPECT_EQ(sink.ends, 0);
  wire.resume(1);
  wire.poll(0);
  EXPECT_EQ(sink.ends, 1);
}

TEST(FakeTransport, StartsAndCancelsFromCallbacks) {
  ManualClock clock;
  FakeTransport wire(clock, [](const Request&, const FakeStart&) {
    return FakeTimeline().sent(1).answer(2, 200, "x");
  });
  KeepingSink first, second, third;
  Request request = order("a");
  first.when_head = [&] {
    wire.cancel(1);
    wire.cancel(2);
    wire.start(3, &request, &third);
  };
  wire.start(1, &request, &first);
  wire.start(2, &request, &second);
  for (int i = 0; i < 6; ++i) wire.poll(-1);
  EXPECT_EQ(first.ends + second.ends, 0);
  EXPECT_EQ(third.ends, 1);
  EXPECT_EQ(clock.monotonic_ns(), 4);
}

TEST(FakeTransport, WakeLetsPollReturnWithoutMovingTime) {
  ManualClock clock;
  FakeTransport wire(
      clock, [](const Request&, const FakeStart&) { return FakeTimeline().answer(100, 200, "x"); });
  KeepingSink sink;
  Request request = order("a");
  wire.start(1, &request, &sink);
  wire.wake();
  wire.poll(-1);
  EXPECT_EQ(clock.monotonic_ns(), 0);
  wire.poll(-1);
  EXPECT_EQ(sink.ends, 1);
}

}  // namespace
}  // namespace sluiceway::http
