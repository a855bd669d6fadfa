// Read and write time-outs: which of them holds when, to the nanosecond and never early.
#include "sim_engine.h"

namespace sluiceway::engine {
namespace {

using http::FakeStart;
using http::FakeTimeline;
using http::Request;

// A call with these time-outs against this timeline; both in the engine's simulated time.
struct Timed {
  Timed(const FakeTimeline& timeline, std::int64_t write_ns, std::int64_t read_ns,
        std::size_t body_bytes = 2)
      : sim([timeline](const Request&, const FakeStart&) { return timeline; }) {
    auto request = sim.request();
    request.body.assign(body_bytes, 'x');
    request.write_timeout_ns = write_ns;
    request.read_timeout_ns = read_ns;
    call = sim.submit(std::move(request));
    sim.run();
  }
  const Ending& ending() const { return call->ending(); }
  SimEngine sim;
  std::shared_ptr<Call> call;
};

FakeTimeline sending() { return FakeTimeline().sent(10 * kMs).takes(100 * kMs).takes(900 * kMs); }

TEST(WriteTimeout, EndsTheCallInDoubtAfterThatLongWithoutAByteTaken) {
  const Timed t(sending(), kSecond, 0);
  EXPECT_EQ(t.ending().kind, ErrorKind::kDeadlineExceeded);
  EXPECT_EQ(t.ending().failure, Failure::kDeadlineSent);
  EXPECT_EQ(t.ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(t.ending().held, 1'000'000);
  EXPECT_EQ(t.ending().latency_ns, 1'900 * kMs);  // the last byte at 900 ms, and one second
  EXPECT_NE(t.ending().message.find("write_timeout_s"), std::string::npos);
}

TEST(WriteTimeout, CountsFromTheRequestsFirstByteNotFromTheSubmission) {
  const Timed t(FakeTimeline().takes(5 * kSecond), kSecond, 0);
  EXPECT_EQ(t.ending().failure, Failure::kDeadlineSent);
  EXPECT_EQ(t.ending().latency_ns, 6 * kSecond);
}

TEST(WriteTimeout, IsOverWhenAllWasTaken) {
  // Sent at 1 s; the answer comes seven seconds later, which is the read time-out's business.
  const Timed t(
      FakeTimeline().takes(500 * kMs).executed(kSecond).answer(8 * kSecond, 200, chat_body(1, 1)),
      kSecond, 0);
  EXPECT_EQ(t.ending().kind, ErrorKind::kNone) << t.ending().message;
}

TEST(WriteTimeout, WithTheReadTimeoutEachHoldsInItsPhase) {
  // All taken at 500 ms: from there the read time-out runs.
  const Timed read(FakeTimeline().takes(100 * kMs).executed(500 * kMs), kSecond, 300 * kMs);
  EXPECT_EQ(read.ending().latency_ns, 800 * kMs);
  EXPECT_NE(read.ending().message.find("read_timeout_s"), std::string::npos);
  // While it is sent the longer write time-out does.
  const Timed write(FakeTimeline().takes(100 * kMs), kSecond, 300 * kMs);
  EXPECT_EQ(write.ending().latency_ns, 1'100 * kMs);
  EXPECT_NE(write.ending().message.find("write_timeout_s"), std::string::npos);
}

TEST(WriteTimeout, BeforeTheFirstByteNothingIsInDoubt) {
  auto t = Timed(FakeTimeline(), kSecond, 0);  // never gets a connection
  EXPECT_EQ(t.ending().failure, Failure::kDeadlineUnsent);
  EXPECT_EQ(t.ending().latency_ns, 30 * kSecond);  // only the whole deadline ends it
  EXPECT_EQ(t.ending().held, 0);
}

TEST(ReadTimeout, AnUploadThatGoesOnIsNotSilent) {
  FakeTimeline timeline;
  for (std::int64_t i = 1; i <= 20; ++i) timeline.takes(i * 200 * kMs);
  const Timed whole(timeline.executed(4'100 * kMs).answer(4'200 * kMs, 200, chat_body(1, 1)), 0,
                    300 * kMs, 100'000);
  EXPECT_EQ(whole.ending().kind, ErrorKind::kNone) << whole.ending().message;
  const Timed stuck(sending(), 0, kSecond, 100'000);
  EXPECT_EQ(stuck.ending().latency_ns, 1'900 * kMs);
  EXPECT_EQ(stuck.ending().outcome, Outcome::kInDoubt);
}

// A handshake or a wait for a place of 5 s is the connect and pool time-outs' business; the silence
// is counted from the request's first byte on.
TEST(ReadTimeout, DoesNotCountBeforeTheFirstByte) {
  for (const std::size_t bytes : {2, 100'000}) {
    const Timed fine(FakeTimeline()
                         .takes(5 * kSecond)
                         .executed(5'100 * kMs)
                         .answer(5'200 * kMs, 200, chat_body(1, 1)),
                     0, 300 * kMs, bytes);
    EXPECT_EQ(fine.ending().kind, ErrorKind::kNone) << fine.ending().message;
    const Timed silent(FakeTimeline().takes(5 * kSecond).executed(5 * kSecond), 0, 300 * kMs,
                       bytes);
    EXPECT_EQ(silent.ending().latency_ns, 5'300 * kMs);
    EXPECT_EQ(silent.ending().outcome, Outcome::kInDoubt);
  }
}

TEST(InvalidRequest, IsNoFailureOfTheProviderAndNotTriedAgain) {
  const Timed t(FakeTimeline().fail(kMs, http::TransferError::kInvalidRequest), 0, 0);
  EXPECT_EQ(t.ending().kind, ErrorKind::kInvalidRequest);
  EXPECT_EQ(t.ending().outcome, Outcome::kNeverSent);
  EXPECT_EQ(t.ending().attempts.size(), 1u);
  EXPECT_EQ(outcome_row(t.ending().failure).breaker, BreakerWord::kIgnored);
}

TEST(BodyParts, AChangedFileIsInvalidUnsentOrInDoubtAfterwards) {
  const Timed unsent(FakeTimeline().fail(5 * kMs, http::TransferError::kBodyChanged), 0, 0);
  EXPECT_EQ(unsent.ending().kind, ErrorKind::kInvalidRequest);
  EXPECT_EQ(unsent.ending().failure, Failure::kBodyUnsent);
  EXPECT_EQ(unsent.ending().outcome, Outcome::kNeverSent);
  EXPECT_EQ(unsent.ending().held, 0);
  EXPECT_EQ(unsent.ending().attempts.size(), 1u);  // no attempt would find it otherwise
  const Timed sent(FakeTimeline().sent(kMs).fail(5 * kMs, http::TransferError::kBodyChanged), 0, 0);
  EXPECT_EQ(sent.ending().kind, ErrorKind::kInDoubt);
  EXPECT_EQ(sent.ending().failure, Failure::kBodyChanged);
  EXPECT_EQ(sent.ending().outcome, Outcome::kInDoubt);
  EXPECT_EQ(sent.ending().held, 1'000'000);
  EXPECT_EQ(sent.ending().attempts.size(), 1u);
}

TEST(BodyParts, EveryAttemptReadsThemFromTheStart) {
  auto parts = *http::Body::make({{.bytes = "abc"}, {.bytes = "def"}});
  std::vector<std::string> sent;
  SimEngine sim([&](const Request& request, const FakeStart& at) {
    char piece[16];
    std::size_t n = 0;
    http::BodyReader reader;
    reader.start(request.parts.get());
    EXPECT_EQ(reader.read(piece, sizeof piece, &n), http::BodyReader::Result::kOk);
    sent.emplace_back(piece, n);
    return at.attempt == 1 ? FakeTimeline().fail(kMs, http::TransferError::kConnect)
                           : answers(200, chat_body(1, 1));
  });
  auto request = sim.request();
  request.body.clear();
  request.parts = parts;
  const auto call = sim.submit(std::move(request));
  sim.run();
  EXPECT_EQ(call->ending().kind, ErrorKind::kNone) << call->ending().message;
  EXPECT_EQ(sent, (std::vector<std::string>{"abcdef", "abcdef"}));
  sim.settle_books();
  EXPECT_EQ(call->request.parts, nullptr);
  EXPECT_EQ(parts.use_count(), 1);  // its files are closed although the call is still held
}

}  // namespace
}  // namespace sluiceway::engine
