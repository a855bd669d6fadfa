// Byte streams: pieces in their order, the head, back-pressure, and what a broken end means.
#include "sim_engine.h"

namespace sluiceway::engine {
namespace {

using http::FakeStart;
using http::FakeTimeline;
using http::Request;
using http::TransferError;

struct Bytes {
  explicit Bytes(const FakeTimeline& timeline, std::int64_t span_ns = 60 * kSecond)
      : sim([timeline](const Request&, const FakeStart&) { return timeline; }) {
    auto route = std::make_shared<Route>(sim.route());
    route->keep_headers = true;
    auto request = sim.request();
    request.route = route;
    request.stream = request.byte_stream = true;
    call = sim.submit(std::move(request));
    sim.run(span_ns);
    for (const auto& piece : call->take(&resume)) text += piece.text;
  }
  const Ending& ending() const { return call->ending(); }
  SimEngine sim;
  std::shared_ptr<Call> call;
  std::string text;
  bool resume = false;
};

FakeTimeline sound(int status = 200) {
  return FakeTimeline().sent(kMs).executed(2 * kMs).head(5 * kMs, status,
                                                         {{"Content-Type", "audio/mpeg"}});
}

TEST(ByteStream, BytesPassUnreadAndAreNotKept) {
  const Bytes b(
      sound().body(6 * kMs, "data: {").body(7 * kMs, std::string("\0\xff", 2)).end(8 * kMs));
  EXPECT_EQ(b.text, "data: {" + std::string("\0\xff", 2));
  EXPECT_EQ(b.ending().kind, ErrorKind::kNone) << b.ending().message;
  EXPECT_EQ(b.ending().answer->body, "");
  const auto head = b.call->head();
  ASSERT_NE(head, nullptr);
  EXPECT_EQ(head->status, 200);
  ASSERT_EQ(head->headers.size(), 1u);
  EXPECT_EQ(head->headers[0].second, "audio/mpeg");
  // Its answer tells no usage: what it cost stays in doubt.
  EXPECT_EQ(b.ending().outcome, Outcome::kDone);
  EXPECT_EQ(b.ending().held, 1'000'000);
}

TEST(ByteStream, ABodyThatBreaksOffIsInDoubtAndNotAskedForAgain) {
  const Bytes late(sound().body(6 * kMs, "half").fail(7 * kMs, TransferError::kPartialBody));
  EXPECT_EQ(late.text, "half");
  EXPECT_EQ(late.ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(late.ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(late.ending().attempts.size(), 1u);
  const Bytes early(sound().fail(7 * kMs, TransferError::kPartialBody));
  EXPECT_EQ(early.ending().failure, Failure::kBroken);
}

TEST(ByteStream, AnEndThatCannotBeProvenIsNone) {
  FakeTimeline timeline = sound().body(6 * kMs, "half");
  timeline.end(7 * kMs);
  timeline.steps.back().complete = false;  // the connection was closed, no length was told
  const Bytes b(timeline);
  EXPECT_EQ(b.ending().kind, ErrorKind::kStreamBroken);
  EXPECT_NE(b.ending().message.find("length"), std::string::npos);
}

TEST(ByteStream, AnErrorsBodyIsReadAsEver) {
  const Bytes b(sound(429)
                    .body(6 * kMs, R"({"error":{"code":"insufficient_quota","message":"no more"}})")
                    .end(7 * kMs));
  EXPECT_EQ(b.text, "");
  EXPECT_EQ(b.ending().kind, ErrorKind::kNoMoney);
  EXPECT_EQ(b.ending().message, "no more");
  EXPECT_EQ(b.call->head(), nullptr);
}

TEST(ByteStream, WhatWasRefusedIsAskedForAgainBeforeTheFirstByte) {
  int attempts = 0;
  SimEngine sim([&](const Request&, const FakeStart&) {
    return ++attempts == 1 ? FakeTimeline().fail(kMs, TransferError::kConnect)
                           : sound().body(6 * kMs, "all").end(7 * kMs);
  });
  auto request = sim.request();
  request.stream = request.byte_stream = true;
  const auto call = sim.submit(std::move(request));
  sim.run();
  bool resume = false;
  EXPECT_EQ(call->take(&resume).at(0).text, "all");
  EXPECT_EQ(call->ending().attempts.size(), 2u);
}

TEST(ByteStream, ASlowReaderHoldsTheTransferBack) {
  FakeTimeline timeline = sound();
  for (int i = 0; i < 100; ++i) timeline.body((6 + i) * kMs, std::string(16'384, 'x'));
  Bytes b(timeline.end(200 * kMs), kSecond);
  EXPECT_FALSE(b.call->done());
  EXPECT_TRUE(b.resume);
  // The high water, and the piece that passed it.
  EXPECT_EQ(b.text.size(), Call::kHighWaterBytes + 16'384);
  std::size_t taken = b.text.size();
  for (int turn = 0; turn < 20 && !b.call->done(); ++turn) {
    b.sim.engine->resume(*b.call);
    b.sim.run(kSecond);
    bool resume = false;
    for (const auto& piece : b.call->take(&resume)) {
      EXPECT_LE(piece.text.size(), Call::kJoinedBytesMax);
      taken += piece.text.size();
    }
  }
  EXPECT_TRUE(b.call->done());
  EXPECT_EQ(taken, 100u * 16'384u);
  EXPECT_EQ(b.ending().kind, ErrorKind::kNone);
}

TEST(ByteStream, CancellingEndsItAndKeepsItsMoney) {
  Bytes b(sound().body(6 * kMs, "a").body(20 * kMs, "b").end(kSecond), 10 * kMs);
  b.sim.engine->cancel(*b.call);
  b.sim.run(10 * kMs);
  ASSERT_TRUE(b.call->done());
  EXPECT_EQ(b.ending().kind, ErrorKind::kCancelled);
  EXPECT_EQ(b.ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(b.sim.wire->stats().transfers_cancelled, 1u);
}

TEST(ByteStream, TheReadTimeoutRunsAgainAfterAPause) {
  FakeTimeline timeline = sound();
  for (int i = 0; i < 20; ++i) timeline.body(6 * kMs, std::string(16'384, 'x'));  // then nothing
  SimEngine sim([&](const Request&, const FakeStart&) { return timeline; });
  auto request = sim.request();
  request.stream = request.byte_stream = true;
  request.read_timeout_ns = kSecond;
  const auto call = sim.submit(std::move(request));
  sim.run(5 * kSecond);
  EXPECT_FALSE(call->done());  // it is the reader who is silent
  bool resume = false;
  call->take(&resume);
  ASSERT_TRUE(resume);
  const std::int64_t resumed_ns = sim.clock().monotonic_ns();
  sim.engine->resume(*call);
  sim.run(5 * kSecond);
  ASSERT_TRUE(call->done());
  EXPECT_EQ(call->ending().kind, ErrorKind::kDeadlineExceeded);
  EXPECT_EQ(call->submitted_ns + call->ending().latency_ns, resumed_ns + kSecond);
}

}  // namespace
}  // namespace sluiceway::engine
