// Streams: deltas, the terminator, final usage, and what a cut or an error inside means for the
// money.
#include "sim_engine.h"

namespace sluiceway::engine {
namespace {

using http::FakeStart;
using http::FakeTimeline;
using http::Request;
using http::TransferError;

const char kFirst[] = "data: {\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\n";
const char kSecondDelta[] = "data: {\"choices\":[{\"delta\":{\"content\":\"llo\"}}]}\n\n";
const char kFinish[] = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const char kUsage[] =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":10}}\n\n";
const char kDone[] = "data: [DONE]\n\n";

struct Streamed {
  explicit Streamed(const FakeTimeline& timeline)
      : sim([timeline](const Request&, const FakeStart&) { return timeline; }),
        scope(sim.scope("1", 10'000'000)) {
    auto request = sim.request();
    request.stream = true;
    request.scopes = {scope};
    call = sim.submit(std::move(request));
    sim.run();
    bool resume = false;
    for (const auto& delta : call->take(&resume)) text += delta.text;
  }
  SimEngine sim;
  std::shared_ptr<store::Scope> scope;
  std::shared_ptr<Call> call;
  std::string text;
};

FakeTimeline start() { return FakeTimeline().sent(kMs).executed(2 * kMs).head(5 * kMs, 200); }

TEST(Stream, DeltasArriveAndTheFinalUsageSettles) {
  Streamed s(start()
                 .body(6 * kMs, kFirst)
                 .body(7 * kMs, kSecondDelta)
                 .body(8 * kMs, std::string(kFinish) + kUsage + kDone)
                 .end(9 * kMs));
  EXPECT_EQ(s.text, "Hello");
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kNone) << s.call->ending().message;
  EXPECT_EQ(s.call->ending().answer->text, "Hello");
  EXPECT_EQ(s.call->ending().cost, 120'000);
  EXPECT_EQ(s.sim.balance(*s.scope).settled, 120'000);
}

// A server that keeps the body open after its last event: the call ends a moment later, whole.
TEST(Stream, TheTerminatorEndsItThoughTheBodyStaysOpen) {
  Streamed s(start().body(6 * kMs, kFirst).body(7 * kMs, std::string(kFinish) + kUsage + kDone));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kNone) << s.call->ending().message;
  EXPECT_EQ(s.call->ending().latency_ns, 207 * kMs);
  EXPECT_EQ(s.text, "He");
  EXPECT_EQ(s.sim.balance(*s.scope).settled, 120'000);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 0);
}

TEST(Stream, ACutStreamIsInDoubtAtItsCeilingAndKeepsThePartialText) {
  Streamed s(start().body(6 * kMs, kFirst).fail(7 * kMs, TransferError::kPartialBody));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(s.call->ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(s.call->ending().answer->text, "He");
  EXPECT_EQ(s.call->ending().attempts.size(), 1u);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 1'000'000);
}

TEST(Stream, WithoutItsTerminatorACleanEndIsNotDone) {
  Streamed s(start().body(6 * kMs, kFirst).end(7 * kMs));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(s.call->ending().held, 1'000'000);
}

TEST(Stream, CutAfterTheFinalUsageTheMoneyIsKnown) {
  Streamed s(start()
                 .body(6 * kMs, std::string(kFirst) + kFinish + kUsage)
                 .fail(7 * kMs, TransferError::kSendOrReceive));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(s.call->ending().outcome, Outcome::kDone);
  EXPECT_EQ(s.call->ending().cost, 120'000);
  EXPECT_EQ(s.call->ending().held, 0);
  EXPECT_EQ(s.sim.balance(*s.scope).settled, 120'000);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 0);
}

TEST(Stream, AGrowingUsageBeforeTheFinishIsNotFinal) {
  Streamed s(start()
                 .body(6 * kMs, std::string(kUsage) + kFirst)
                 .fail(7 * kMs, TransferError::kSendOrReceive));
  EXPECT_EQ(s.sim.balance(*s.scope).settled, 0);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 1'000'000);
  EXPECT_EQ(s.call->ending().cost_source, CostSource::kEstimated);
  EXPECT_EQ(s.call->ending().cost, 120'000);
}

TEST(Stream, AnErrorBeforeTheFirstDeltaIsDoneWithAnError) {
  Streamed s(
      start()
          .body(6 * kMs, "data: {\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}\n\n")
          .end(7 * kMs));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kProviderError);
  EXPECT_EQ(s.call->ending().outcome, Outcome::kDone);
  EXPECT_EQ(s.call->ending().attempts.size(), 1u);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 1'000'000);
}

TEST(Stream, AnErrorAfterADeltaBreaksTheStream) {
  Streamed s(
      start()
          .body(6 * kMs, std::string(kFirst) +
                             "data: {\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}\n\n")
          .end(7 * kMs));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(s.text, "He");
}

TEST(Stream, ASlowConsumerPausesTheTransferAndTakingResumesIt) {
  const std::string big(200'000, 'x');
  const std::string event = "data: {\"choices\":[{\"delta\":{\"content\":\"" + big + "\"}}]}\n\n";
  SimEngine sim([&](const Request&, const FakeStart&) {
    return start()
        .body(6 * kMs, event)
        .body(7 * kMs, event)
        .body(8 * kMs, event)
        .body(9 * kMs, std::string(kFinish) + kUsage + kDone)
        .end(10 * kMs);
  });
  auto request = sim.request();
  request.stream = true;
  const auto call = sim.submit(std::move(request));
  sim.run(5 * kSecond);
  EXPECT_FALSE(call->done());  // held back by the reader
  bool resume = false;
  std::size_t bytes = 0;
  for (const auto& delta : call->take(&resume)) bytes += delta.text.size();
  EXPECT_TRUE(resume);
  EXPECT_LT(bytes, 600'000u);
  engine::Engine& engine = *sim.engine;
  engine.resume(*call);
  sim.run(5 * kSecond);
  ASSERT_TRUE(call->done());
  for (const auto& delta : call->take(&resume)) bytes += delta.text.size();
  EXPECT_EQ(bytes, 600'000u);
  EXPECT_EQ(call->ending().kind, ErrorKind::kNone);
}

// What an error leaves open is not waited for, and its words are told.
TEST(Stream, AnErrorEndsItThoughTheBodyStaysOpen) {
  const std::string error =
      "data: {\"error\":{\"type\":\"server_error\",\"message\":\"boom\"}}\n\n";
  Streamed first(start().body(6 * kMs, error));
  EXPECT_EQ(first.call->ending().kind, ErrorKind::kProviderError);
  EXPECT_EQ(first.call->ending().latency_ns, 206 * kMs);
  EXPECT_EQ(first.call->ending().error.type, "server_error");
  EXPECT_NE(first.call->ending().message.find("boom"), std::string::npos);
  Streamed later(start().body(6 * kMs, kFirst).body(7 * kMs, error));
  EXPECT_EQ(later.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(later.call->ending().latency_ns, 207 * kMs);
  EXPECT_EQ(later.call->ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(later.sim.balance(*later.scope).in_doubt, 1'000'000);
  Streamed malformed(start().body(6 * kMs, kFirst).body(7 * kMs, "data: {oops\n\n"));
  EXPECT_EQ(malformed.call->ending().kind, ErrorKind::kStreamBroken);
  EXPECT_EQ(malformed.call->ending().latency_ns, 207 * kMs);
}

TEST(Stream, KeepAlivesAfterTheTerminatorDoNotKeepItOpen) {
  FakeTimeline timeline = start().body(6 * kMs, std::string(kFirst) + kFinish + kUsage + kDone);
  for (int i = 1; i < 200; ++i) timeline.body((6 + i * 50) * kMs, ": ping\n\n");
  Streamed s(timeline);
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kNone) << s.call->ending().message;
  EXPECT_EQ(s.call->ending().latency_ns, 206 * kMs);
}

// A terminator without its empty line is one where the body ended as it should, and only there.
TEST(Stream, ATerminatorMayLackItsEmptyLine) {
  for (const std::string end : {"data: [DONE]\n", "data: [DONE]", "data:[DONE]\r"}) {
    const std::string rest = std::string(kFirst) + kFinish + kUsage + end;
    Streamed whole(start().body(6 * kMs, rest).end(7 * kMs));
    EXPECT_EQ(whole.call->ending().kind, ErrorKind::kNone) << end;
    Streamed cut(start().body(6 * kMs, rest).fail(7 * kMs, TransferError::kPartialBody));
    EXPECT_EQ(cut.call->ending().kind, ErrorKind::kStreamBroken) << end;
  }
  Streamed other(start().body(6 * kMs, std::string(kFirst) + "data: [DONE").end(7 * kMs));
  EXPECT_EQ(other.call->ending().kind, ErrorKind::kStreamBroken);
}

// Text came after the only usage, and nothing said that this was all of it.
TEST(Stream, AUsageBeforeTheLastTextIsNotWhatWasBilled) {
  Streamed old(start().body(6 * kMs, std::string(kUsage) + kFirst + kDone).end(7 * kMs));
  EXPECT_EQ(old.call->ending().kind, ErrorKind::kNone);
  EXPECT_EQ(old.sim.balance(*old.scope).settled, 0);
  EXPECT_EQ(old.sim.balance(*old.scope).in_doubt, 1'000'000);
  Streamed last(start().body(6 * kMs, std::string(kFirst) + kUsage + kDone).end(7 * kMs));
  EXPECT_EQ(last.sim.balance(*last.scope).settled, 120'000);
}

// A server that does not stream gives all of it as one JSON object.
TEST(Stream, AWholeAnswerInsteadOfEvents) {
  const std::string body = "\n " + chat_body(100, 10);
  Streamed s(start().body(6 * kMs, body.substr(0, 2)).body(7 * kMs, body.substr(2)).end(9 * kMs));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kNone) << s.call->ending().message;
  EXPECT_EQ(s.text, "hello");
  EXPECT_EQ(s.call->ending().answer->text, "hello");
  EXPECT_EQ(s.sim.balance(*s.scope).settled, 120'000);
  Streamed cut(start().body(6 * kMs, body.substr(0, 40)).end(9 * kMs));
  EXPECT_EQ(cut.call->ending().kind, ErrorKind::kInvalidResponse);
  EXPECT_EQ(cut.sim.balance(*cut.scope).in_doubt, 1'000'000);
  EXPECT_EQ(cut.text, "");
}

TEST(Stream, AnErrorObjectInsteadOfEventsIsTold) {
  Streamed s(start()
                 .body(6 * kMs, "{\"error\":{\"type\":\"x_error\",\"message\":\"no such model\"}}")
                 .end(9 * kMs));
  EXPECT_EQ(s.call->ending().kind, ErrorKind::kInvalidResponse);
  EXPECT_EQ(s.call->ending().error.type, "x_error");
  EXPECT_NE(s.call->ending().message.find("no such model"), std::string::npos);
  EXPECT_EQ(s.sim.balance(*s.scope).in_doubt, 1'000'000);
}

// All has come: the reader's pace is no reason to keep the call, its permit and its hold.
TEST(Stream, ASlowConsumerDoesNotHoldBackTheEnd) {
  const std::string big(300'000, 'x');
  const std::string event = "data: {\"choices\":[{\"delta\":{\"content\":\"" + big + "\"}}]}\n\n";
  SimEngine sim([&](const Request&, const FakeStart&) {
    return start().body(6 * kMs, event + kFinish + kUsage + kDone).end(10 * kMs);
  });
  auto request = sim.request();
  request.stream = true;
  const auto call = sim.submit(std::move(request));
  sim.run(5 * kSecond);
  ASSERT_TRUE(call->done());
  EXPECT_EQ(call->ending().cost, 120'000);
  bool resume = false;
  EXPECT_EQ(call->take(&resume).front().text.size(), 300'000u);
  sim.engine->resume(*call);
  sim.run(kSecond);
}

}  // namespace
}  // namespace sluiceway::engine
