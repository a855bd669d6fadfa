// The transport's scripted twin: no sockets, no threads, no time but a ManualClock.
//
// A script maps each started request to a timeline of steps relative to its start; poll() moves the
// clock to the next step (or by the timeout) and calls the sinks. Steps at the same instant run in
// the order in which their transfers were started, then in the timeline's order, so a run is a
// function of its script alone. Executions are counted here, as the simulated provider sees them: a
// request that was sent is executed even if its caller has cancelled meanwhile. O(log n) a step.
// Example:
//   FakeTransport wire(clock, [](const Request&, const FakeStart&) {
//     return FakeTimeline().sent(1'000).executed(2'000).answer(5'000, 200, "{}"); });
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "http/transport.h"

namespace sluiceway::http {

struct FakeStep {
  enum class Kind : std::uint8_t { kSent, kTakes, kExecuted, kHead, kBody, kEnd };
  std::int64_t at_ns = 0;  // since start()
  Kind kind = Kind::kEnd;
  int status = 0;                              // kHead
  std::vector<Header> headers;                 // kHead
  std::string data;                            // kBody
  TransferError error = TransferError::kNone;  // kEnd
  bool complete = false;                       // kEnd
};

// Steps in the order of their times. A timeline without kEnd never ends by itself (a hanging
// server).
struct FakeTimeline {
  std::vector<FakeStep> steps;

  FakeTimeline& sent(std::int64_t at_ns);
  // A piece of the request is taken and more of it is left: it is being sent until `executed` or
  // `head`.
  FakeTimeline& takes(std::int64_t at_ns);
  FakeTimeline& executed(std::int64_t at_ns);
  FakeTimeline& head(std::int64_t at_ns, int status, std::vector<Header> headers = {});
  FakeTimeline& body(std::int64_t at_ns, std::string data);
  FakeTimeline& end(std::int64_t at_ns);                        // a complete answer
  FakeTimeline& fail(std::int64_t at_ns, TransferError error);  // not complete
  // head, body and end at once.
  FakeTimeline& answer(std::int64_t at_ns, int status, std::string data,
                       std::vector<Header> headers = {});
};

struct FakeStart {
  std::uint64_t id = 0;        // as given to start()
  std::uint64_t sequence = 0;  // 0, 1, 2 ... over all starts of this transport
  int attempt = 1;             // 1 + earlier starts with the same URL, extra headers and body
  std::int64_t now_ns = 0;     // monotonic
};

class FakeTransport final : public Transport {
 public:
  using Script = std::function<FakeTimeline(const Request&, const FakeStart&)>;

  // The clock outlives the transport.
  FakeTransport(ManualClock& clock, Script script);

  void start(std::uint64_t id, Request* request, Sink* sink) override;
  bool cancel(std::uint64_t id) override;
  void pause(std::uint64_t id) override;
  void resume(std::uint64_t id) override;
  // Advances the clock to the next step, but by at most `timeout_ns`, and runs every step that is
  // then due. Below zero with nothing ahead: returns at once. After wake(): runs what is due, the
  // clock stands still.
  void poll(std::int64_t timeout_ns) override;
  void wake() override;
  void close_inherited() override;
  Sending sending(std::uint64_t id) const override;
  TransportStats stats() const override;

  std::uint64_t executions() const { return executions_; }
  // Executions of the request that was started as `id`.
  std::uint64_t executions_of(std::uint64_t id) const;
  // When the next step is due (monotonic), or -1.
  std::int64_t next_step_ns() const;

 private:
  struct Transfer {
    std::uint64_t id = 0;
    Sink* sink = nullptr;  // null once cancelled: only executions still happen
    FakeTimeline timeline;
    std::size_t next = 0;
    std::int64_t started_ns = 0;
    std::int64_t first_byte_ns = 0;
    std::uint64_t response_bytes = 0;
    int status = 0;
    std::int64_t taken_ns = 0;  // monotonic
    bool sent = false, taking = false, paused = false;
  };
  // (when, sequence of the start): the order of everything that happens.
  using Key = std::pair<std::int64_t, std::uint64_t>;

  void schedule(std::uint64_t sequence, Transfer& transfer);
  void unschedule(std::uint64_t sequence, const Transfer& transfer);
  void run_step(std::uint64_t sequence);
  void finish(std::uint64_t sequence, const FakeStep& step);
  bool run_due();

  ManualClock& clock_;
  Script script_;
  std::map<std::uint64_t, Transfer> transfers_;            // by sequence
  std::unordered_map<std::uint64_t, std::uint64_t> live_;  // id -> sequence
  std::map<Key, std::uint64_t> agenda_;                    // -> sequence
  std::unordered_map<std::string, int> attempts_;
  std::unordered_map<std::uint64_t, std::uint64_t> executed_;  // by id
  std::uint64_t next_sequence_ = 0;
  std::uint64_t executions_ = 0;
  std::atomic<bool> woken_{false};
  TransportStats stats_;
};

}  // namespace sluiceway::http
