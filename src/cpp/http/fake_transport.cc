// The scripted wire: see fake_transport.h.
#include "http/fake_transport.h"

#include <algorithm>

#include "base/text.h"

namespace sluiceway::http {
namespace {

class FakeHeaders final : public HeaderSource {
 public:
  explicit FakeHeaders(const std::vector<Header>& headers) : headers_(headers) {}
  std::optional<std::string_view> find(std::string_view name) const override {
    for (const Header& header : headers_) {
      if (equals_ignore_case(header.name, name)) return std::string_view(header.value);
    }
    return std::nullopt;
  }
  void for_each(
      const std::function<void(std::string_view, std::string_view)>& visit) const override {
    for (const Header& header : headers_) visit(header.name, header.value);
  }

 private:
  const std::vector<Header>& headers_;
};

std::string attempt_key(const Request& request) {
  std::string key = request.method;
  key += ' ';
  if (request.url != nullptr) key += request.url->text();
  for (const Header& header : request.extra_headers) {
    key += '\n';
    key += header.name;
    key += ':';
    key += header.value;
  }
  key += "\n\n";
  if (request.parts == nullptr) return key += request.body;
  char piece[4096];
  BodyReader reader;
  reader.start(request.parts.get());
  for (std::size_t n = 0; reader.read(piece, sizeof piece, &n) == BodyReader::Result::kOk && n > 0;)
    key.append(piece, n);
  return key;
}

FakeStep step_of(std::int64_t at_ns, FakeStep::Kind kind) {
  FakeStep step;
  step.at_ns = at_ns;
  step.kind = kind;
  return step;
}

}  // namespace

FakeTimeline& FakeTimeline::sent(std::int64_t at_ns) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kSent));
  return *this;
}

FakeTimeline& FakeTimeline::takes(std::int64_t at_ns) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kTakes));
  return *this;
}

FakeTimeline& FakeTimeline::executed(std::int64_t at_ns) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kExecuted));
  return *this;
}

FakeTimeline& FakeTimeline::head(std::int64_t at_ns, int status, std::vector<Header> headers) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kHead));
  steps.back().status = status;
  steps.back().headers = std::move(headers);
  return *this;
}

FakeTimeline& FakeTimeline::body(std::int64_t at_ns, std::string data) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kBody));
  steps.back().data = std::move(data);
  return *this;
}

FakeTimeline& FakeTimeline::end(std::int64_t at_ns) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kEnd));
  steps.back().complete = true;
  return *this;
}

FakeTimeline& FakeTimeline::fail(std::int64_t at_ns, TransferError error) {
  steps.push_back(step_of(at_ns, FakeStep::Kind::kEnd));
  steps.back().error = error;
  return *this;
}

FakeTimeline& FakeTimeline::answer(std::int64_t at_ns, int status, std::string data,
                                   std::vector<Header> headers) {
  return head(at_ns, status, std::move(headers)).body(at_ns, std::move(data)).end(at_ns);
}

FakeTransport::FakeTransport(ManualClock& clock, Script script)
    : clock_(clock), script_(std::move(script)) {}

void FakeTransport::start(std::uint64_t id, Request* request, Sink* sink) {
  FakeStart at;
  at.id = id;
  at.sequence = next_sequence_++;
  at.attempt = ++attempts_[attempt_key(*request)];
  at.now_ns = clock_.monotonic_ns();
  Transfer& transfer = transfers_[at.sequence];
  transfer.id = id;
  transfer.sink = sink;
  transfer.started_ns = at.now_ns;
  transfer.timeline = script_(*request, at);
  // A step cannot happen before the one in front of it.
  std::int64_t last = 0;
  for (FakeStep& step : transfer.timeline.steps) last = step.at_ns = std::max(step.at_ns, last);
  live_[id] = at.sequence;
  ++stats_.transfers_started;
  schedule(at.sequence, transfer);
}

bool FakeTransport::cancel(std::uint64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return false;
  const std::uint64_t sequence = found->second;
  Transfer& transfer = transfers_[sequence];
  live_.erase(found);
  ++stats_.transfers_cancelled;
  transfer.sink = nullptr;
  const bool sent = transfer.sent;
  unschedule(sequence, transfer);
  if (!sent) {
    transfers_.erase(sequence);
  } else {
    schedule(sequence, transfer);  // the server has the request and goes on
  }
  return sent;
}

void FakeTransport::pause(std::uint64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  transfers_[found->second].paused = true;
}

void FakeTransport::resume(std::uint64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  Transfer& transfer = transfers_[found->second];
  if (!transfer.paused) return;
  unschedule(found->second, transfer);
  transfer.paused = false;
  schedule(found->second, transfer);
}

void FakeTransport::poll(std::int64_t timeout_ns) {
  if (run_due() || woken_.exchange(false)) return;
  const std::int64_t next = next_step_ns();
  const std::int64_t now = clock_.monotonic_ns();
  if (next < 0 && timeout_ns < 0) return;
  std::int64_t ahead = next < 0 ? timeout_ns : next - now;
  if (timeout_ns >= 0) ahead = std::min(ahead, timeout_ns);
  if (ahead > 0) clock_.advance(ahead);
  run_due();
}

void FakeTransport::wake() { woken_.store(true); }

void FakeTransport::close_inherited() {}

Sending FakeTransport::sending(std::uint64_t id) const {
  const auto found = live_.find(id);
  if (found == live_.end()) return {true, true, 0};
  const Transfer& transfer = transfers_.at(found->second);
  return {transfer.sent, transfer.sent && !transfer.taking, transfer.taken_ns};
}

TransportStats FakeTransport::stats() const {
  TransportStats out = stats_;
  out.in_flight = live_.size();
  return out;
}

std::uint64_t FakeTransport::executions_of(std::uint64_t id) const {
  const auto found = executed_.find(id);
  return found == executed_.end() ? 0 : found->second;
}

std::int64_t FakeTransport::next_step_ns() const {
  return agenda_.empty() ? -1 : agenda_.begin()->first.first;
}

void FakeTransport::schedule(std::uint64_t sequence, Transfer& transfer) {
  if (transfer.next >= transfer.timeline.steps.size()) {
    if (transfer.sink == nullptr) transfers_.erase(sequence);
    return;
  }
  const std::int64_t due = transfer.started_ns + transfer.timeline.steps[transfer.next].at_ns;
  agenda_.emplace(Key{due, sequence}, sequence);
}

void FakeTransport::unschedule(std::uint64_t sequence, const Transfer& transfer) {
  if (transfer.next >= transfer.timeline.steps.size()) return;
  agenda_.erase({transfer.started_ns + transfer.timeline.steps[transfer.next].at_ns, sequence});
}

bool FakeTransport::run_due() {
  bool any = false;
  while (!agenda_.empty() && agenda_.begin()->first.first <= clock_.monotonic_ns()) {
    const std::uint64_t sequence = agenda_.begin()->second;
    agenda_.erase(agenda_.begin());
    run_step(sequence);
    any = true;
  }
  return any;
}

// One step; the sink may do anything to any transfer, so it is looked up again afterwards.
void FakeTransport::run_step(std::uint64_t sequence) {
  Transfer& transfer = transfers_[sequence];
  const FakeStep step = transfer.timeline.steps[transfer.next];
  const bool delivery = step.kind == FakeStep::Kind::kHead || step.kind == FakeStep::Kind::kBody ||
                        (step.kind == FakeStep::Kind::kEnd && step.complete);
  if (delivery && transfer.paused && transfer.sink != nullptr) return;  // resume() puts it back
  ++transfer.next;
  Sink* sink = transfer.sink;
  switch (step.kind) {
    case FakeStep::Kind::kSent:
      transfer.sent = true;
      transfer.taken_ns = clock_.monotonic_ns();
      break;
    case FakeStep::Kind::kTakes:
      transfer.sent = transfer.taking = true;
      transfer.taken_ns = clock_.monotonic_ns();
      break;
    case FakeStep::Kind::kExecuted:
      if (transfer.taking) transfer.taken_ns = clock_.monotonic_ns();
      transfer.taking = false;
      transfer.sent = true;
      ++executions_;
      ++executed_[transfer.id];
      break;
    case FakeStep::Kind::kHead:
      transfer.taking = false;
      transfer.sent = true;
      transfer.status = step.status;
      transfer.first_byte_ns = step.at_ns;
      if (sink != nullptr) sink->on_head(step.status, FakeHeaders(step.headers));
      break;
    case FakeStep::Kind::kBody:
      transfer.response_bytes += step.data.size();
      if (sink != nullptr && !step.data.empty()) sink->on_body(step.data);
      break;
    case FakeStep::Kind::kEnd:
      finish(sequence, step);
      return;
  }
  const auto found = transfers_.find(sequence);
  if (found == transfers_.end()) return;
  // A sink that cancelled or resumed has already put the next step on the agenda.
  unschedule(sequence, found->second);
  schedule(sequence, found->second);
}

void FakeTransport::finish(std::uint64_t sequence, const FakeStep& step) {
  const Transfer transfer = std::move(transfers_[sequence]);
  transfers_.erase(sequence);
  if (transfer.sink == nullptr) return;
  live_.erase(transfer.id);
  ++stats_.transfers_ended;
  TransferEnd end;
  end.error = step.error;
  end.complete = step.complete;
  end.request_started = transfer.sent;
  end.response_started = transfer.status != 0;
  end.status = transfer.status;
  end.http_version = transfer.status != 0 ? 11 : 0;
  end.first_byte_ns = transfer.first_byte_ns;
  end.total_ns = clock_.monotonic_ns() - transfer.started_ns;
  end.response_bytes = transfer.response_bytes;
  if (step.error != TransferError::kNone) end.detail = transfer_error_name(step.error);
  transfer.sink->on_end(end);
}

}  // namespace sluiceway::http
