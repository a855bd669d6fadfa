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

}  // namespace
}  // namespace sluiceway::engine
