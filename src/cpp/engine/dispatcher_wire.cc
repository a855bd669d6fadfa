// On the wire: what comes back, what it means, whether to try again. See dispatcher.h.
#include <algorithm>
#include <utility>

#include "engine/dispatcher.h"
#include "limits/backoff.h"

namespace sluiceway::engine {
namespace {

// What a declared length is believed before its bytes have come.
constexpr std::int64_t kReservedMax = 1 << 20;
// How long a stream's body may stay open after its terminator, or an error in it.
constexpr std::int64_t kBodyEndGraceNs = 200 * kNsPerMs;

bool is_success(int status) { return status >= 200 && status < 300; }

Failure unsent_failure(http::TransferError error) {
  // The caller's mistake: no provider's failure, and no better the second time.
  if (error == http::TransferError::kBodyChanged || error == http::TransferError::kInvalidRequest) {
    return Failure::kBodyUnsent;
  }
  return error == http::TransferError::kPoolTimeout ? Failure::kPoolTimeout : Failure::kUnreached;
}

// Some servers answer who asks for a stream with one JSON object: an error, or the whole answer. No
// line of an event stream begins with a brace. Sets `seen` when it can be told.
bool is_whole_body(std::string_view data, bool* seen) {
  const std::size_t at = data.find_first_not_of(" \t\r\n");
  *seen = at != std::string_view::npos;
  return *seen && data[at] == '{';
}

}  // namespace

void Job::on_head(int code, const http::HeaderSource& found) {
  dispatcher.wake_up();
  dispatcher.on_head(*this, code, found);
}
void Job::on_body(std::string_view data) {
  dispatcher.wake_up();
  dispatcher.on_body(*this, data);
}
void Job::on_end(const http::TransferEnd& end) {
  dispatcher.wake_up();
  dispatcher.on_end(*this, end);
}

void Dispatcher::on_head(Job& job, int status, const http::HeaderSource& headers) {
  const Route& route = job.route();
  job.status = status;
  job.activity_ns = now_ns_;
  if (route.dialect) {
    for (const auto& name : route.dialect->request_id_headers) {
      if (const auto value = headers.find(name)) {
        job.request_id = *value;
        break;
      }
    }
    if (route.group && !route.dialect->rate_headers.empty()) read_rate_headers(job, headers);
  }
  if (!is_success(status)) {  // a 200 may carry retry-after; it means nothing there
    job.retry_after_ns =
        parse::retry_after_ns(headers.find("retry-after").value_or(""),
                              headers.find("retry-after-ms").value_or(""), wall_ns_)
            .value_or(-1);
  } else if (job.asked().stream && !job.asked().byte_stream && route.dialect) {
    job.stream = std::make_unique<StreamDecoder>(*route.dialect, decoder_.json());
  }
  if (route.keep_headers) {
    headers.for_each([&](std::string_view name, std::string_view value) {
      job.headers.emplace_back(name, value);
    });
  }
  if (!job.stream && !job.asked().byte_stream) {  // one block, which the parser reads in place
    const std::int64_t length = headers.content_length();
    if (length > 0) {
      job.body.reserve(static_cast<std::size_t>(std::min(length, kReservedMax)) +
                       parse::JsonReader::kPadding);
    }
  }
  if (job.asked().byte_stream && is_success(status)) {
    job.passes_bytes = true;
    job.wire.response_bytes_max = SIZE_MAX;  // they are not kept
    job.call->put_head(std::make_shared<const Head>(Head{status, job.headers}));
  }
}

void Dispatcher::read_rate_headers(Job& job, const http::HeaderSource& headers) {
  for (const auto& header : job.route().dialect->rate_headers) {
    const auto text = headers.find(header.remaining);
    if (!text || text->empty() || text->size() > 18) continue;
    std::int64_t remaining = 0;
    bool digits = true;
    for (const char c : *text) {
      digits = digits && c >= '0' && c <= '9';
      remaining = remaining * 10 + (c - '0');
    }
    if (!digits) continue;
    // What else was admitted since that request is not told apart here; not subtracting it only
    // makes us believe more than we could, never more than our own bucket says.
    job.route().group->limits->observe_remaining(header.dimension, remaining, 0, now_ns_);
  }
}

void Dispatcher::on_body(Job& job, std::string_view data) {
  job.activity_ns = now_ns_;
  if (!job.stream) {
    if (job.passes_bytes) return pass_bytes(job, data);
    job.body.append(data);
    return;
  }
  if (!job.first_seen && is_whole_body(data, &job.first_seen)) {
    job.stream.reset();
    job.body.append(data);
    return;
  }
  const bool over_before = job.stream->over();
  const Status fed = job.stream->feed(data, job.deltas);
  // All of it has come. The body's end is waited for, for the connection's sake, but not for long.
  if (job.stream->over() && !over_before) {
    job.over_ns = now_ns_;
    schedule(job);
  }
  deliver(job);
  if (!fed.ok()) stop(job, Stop::kMalformed);
}

void Dispatcher::deliver(Job& job) {
  if (job.deltas.empty()) return;
  parts_.counters->streamed_deltas.fetch_add(job.deltas.size(), std::memory_order_relaxed);
  bool behind = false;
  job.call->deliver(job.deltas, &behind, ports_);
  // What follows the end is not kept: nothing is to be held back, and the call can end.
  if (!behind || job.paused || job.stream == nullptr || job.stream->over()) return;
  job.paused = true;
  parts_.transport->pause(job.call->seq);
}

void Dispatcher::pass_bytes(Job& job, std::string_view data) {
  job.passed_any = true;
  parts_.counters->streamed_deltas.fetch_add(1, std::memory_order_relaxed);
  bool over = false;
  job.call->deliver_bytes(data, &over, ports_);
  if (!over || job.paused) return;
  job.paused = true;
  parts_.transport->pause(job.call->seq);
}

void Dispatcher::resume(std::uint64_t seq) {
  Job* job = find(seq);
  if (job == nullptr || !job->paused) return;
  job->paused = false;
  job->activity_ns = now_ns_;
  schedule(*job);  // silence counts again
  parts_.transport->resume(seq);
}

Failure Dispatcher::read_stream(Job& job, const http::TransferEnd& end, Answer& answer,
                                ErrorInfo& error, std::string& message) {
  StreamDecoder& stream = *job.stream;
  stream.fill(answer, job.asked().counted.get());
  if (end.error == http::TransferError::kNone && end.complete) stream.body_ended();
  if (stream.ended()) return Failure::kNone;
  if (stream.failed()) {
    error = stream.error();
    message = stream.malformed() ? "an event of the stream is not JSON"
                                 : "the provider reported an error inside the stream";
    if (!stream.malformed() && !error.message.empty()) message += ": " + error.message;
    return stream.delivered() ? Failure::kStreamBroken : Failure::kStreamError;
  }
  message = "the stream ended without its terminator";
  if (!end.detail.empty()) message += ": " + end.detail;
  return stream.delivered() ? Failure::kStreamBroken : Failure::kBroken;
}

Failure Dispatcher::read_answer(Job& job, const http::TransferEnd& end, Answer& answer,
                                ErrorInfo& error, std::string& message) {
  const Route& route = job.route();
  if (!end.request_started && end.error != http::TransferError::kNone) {
    message = end.detail;
    return unsent_failure(end.error);
  }
  if (end.error == http::TransferError::kRefusedStream) {
    message = end.detail;
    return Failure::kStreamRefused;
  }
  if (end.error == http::TransferError::kBodyChanged) {
    message = end.detail;
    return Failure::kBodyChanged;
  }
  if (end.response_started && !is_success(end.status)) {
    Failure failure = decoder_.classify(route.dialect.get(), end.status, job.body, error);
    // What was only asked for is nowhere else executed: its redirect says where to look.
    const bool only_asks = route.free || route.method == "GET" || route.method == "HEAD";
    if ((end.status == 302 || end.status == 303) && only_asks) failure = Failure::kBadRequest;
    message = error.message.empty() ? "HTTP status " + std::to_string(end.status) : error.message;
    return failure;
  }
  if (job.stream) return read_stream(job, end, answer, error, message);
  if (job.passes_bytes) {
    // What was counted before sending is all that can be known about its cost.
    if (route.dialect) answer.usage = route.dialect->usage_of({}, job.asked().counted.get());
    if (end.error == http::TransferError::kNone && end.complete) return Failure::kNone;
    message = end.error != http::TransferError::kNone
                  ? "the body did not arrive whole: " + end.detail
                  : "the connection was closed after a body of no stated length: whether it is "
                    "whole cannot be known";
    return job.passed_any ? Failure::kStreamBroken : Failure::kBroken;
  }
  if (end.error != http::TransferError::kNone) {
    message = "the answer did not arrive whole: " + end.detail;
    return Failure::kBroken;
  }
  answer.body = std::move(job.body);
  if (route.dialect && !decoder_.read_body(*route.dialect, answer, job.asked().counted.get()) &&
      !route.lenient) {
    decoder_.read_error(*route.dialect, error);
    message = "the provider's 200 answer is not a complete " + route.dialect->name + " body";
    if (!error.message.empty()) message += ", it says: " + error.message;
    return Failure::kInvalidResponse;
  }
  return Failure::kNone;
}

void Dispatcher::on_end(Job& job, const http::TransferEnd& end) {
  // Sent and answered within one turn took time all the same: none is "not known" in the books.
  if (job.sent_ns == now_ns_) begin_turn();
  auto answer = std::allocate_shared<Answer>(PoolAllocator<Answer>());
  ErrorInfo error;
  std::string message;
  answer->status = job.status = end.status;
  const Failure failure = read_answer(job, end, *answer, error, message);
  answer->headers = std::move(job.headers);
  job.attempts.push_back(
      {job.attempt, end.status, failure, job.waited_ns, now_ns_ - job.sent_ns, job.request_id});
  const OutcomeRow& row = outcome_row(failure);
  if (row.throttled && job.retry_after_ns > 0 && job.route().group) {
    job.route().group->limits->freeze_until(saturating_add(now_ns_, job.retry_after_ns));
    note(EventKind::kFrozen, job, std::to_string(job.retry_after_ns / kNsPerMs) + " ms");
  }
  report_breaker(job, row, job.retry_after_ns);
  if (try_again(job, failure)) return;
  Ending ending;
  ending.error = std::move(error);
  ending.message = std::move(message);
  if (failure != Failure::kNone && end.response_started && answer->body.empty()) {
    answer->body = std::move(job.body);
  }
  if (end.error == http::TransferError::kInvalidRequest) ending.kind = ErrorKind::kInvalidRequest;
  if (!end.response_started) answer.reset();
  if (failure == Failure::kNone && job.asked().stream && !job.stream && !job.asked().byte_stream) {
    // Asked for a stream, answered at once: whoever iterates gets the text all the same.
    if (!answer->reasoning_text.empty()) job.deltas.push_back({true, answer->reasoning_text});
    if (!answer->text.empty()) job.deltas.push_back({false, answer->text});
    deliver(job);
  }
  finish(job, failure, std::move(answer), std::move(ending));
}

bool Dispatcher::try_again(Job& job, Failure failure) {
  const OutcomeRow& row = outcome_row(failure);
  const Route& route = job.route();
  const int attempts_max = job.asked().attempts > 0 ? job.asked().attempts : route.retry.attempts;
  if (!row.resend || job.attempt >= attempts_max || job.passed_any ||
      (job.stream && job.stream->delivered())) {
    return false;
  }
  if (job.retry_after_ns > route.retry.retry_after_max_ns) return false;
  const limits::BackoffConfig backoff{route.retry.base_ns, route.retry.throttle_base_ns,
                                      route.retry.cap_ns};
  std::int64_t wait_ns =
      limits::full_jitter_ns(job.attempt, row.throttled, *parts_.random, backoff);
  if (job.retry_after_ns >= 0) wait_ns = std::max(wait_ns, job.retry_after_ns);
  if (saturating_add(now_ns_, wait_ns) >= job.deadline_ns) return false;
  if (!route.retry_budget->try_retry(now_ns_)) return false;
  release_permit(job, failure, nullptr);
  parts_.counters->retries.fetch_add(1, std::memory_order_relaxed);
  note(EventKind::kRetry, job,
       std::string(row.name) + ", attempt " + std::to_string(job.attempt) + ", wait " +
           std::to_string(wait_ns / kNsPerMs) + " ms");
  job.stage = Stage::kBackoff;
  job.stage_ns = now_ns_;
  job.resume_ns = now_ns_ + wait_ns;
  schedule(job);
  return true;
}

void Dispatcher::schedule(Job& job) {
  std::int64_t due = job.deadline_ns;
  if (job.stage == Stage::kBackoff || job.stage == Stage::kParked) {
    due = std::min(due, job.resume_ns);
  } else if (job.stage == Stage::kInFlight) {
    due = std::min(due, silence_due_ns(job));
  }
  timers_.set(job.timer, due);
}

// When silence is to be looked at next, and ends the call if it has lasted: kNever without such a
// time-out. While the request is being sent write_timeout_ns holds, else read_timeout_ns; that one
// counts both directions, so that it never ends an upload that goes on. Neither counts before the
// first byte leaves: waiting for a place and connecting have time-outs of their own.
std::int64_t Dispatcher::silence_due_ns(Job& job) {
  const std::int64_t read_ns = job.asked().read_timeout_ns;
  const std::int64_t write_ns = job.asked().write_timeout_ns;
  if (job.paused) return kNever;
  if (job.stream && job.stream->over()) return saturating_add(job.over_ns, kBodyEndGraceNs);
  if (read_ns <= 0 && write_ns <= 0) return kNever;
  if (!job.wire.watch_sending) {
    const std::int64_t due = saturating_add(job.activity_ns, read_ns);
    if (due > now_ns_ || job.status != 0) return due;  // asked only when it matters
  }
  const http::Sending sending = parts_.transport->sending(job.call->seq);
  job.activity_ns = std::max(job.activity_ns, sending.last_ns);
  if (!sending.started) {  // it may start at any time
    const std::int64_t shorter =
        read_ns > 0 && write_ns > 0 ? std::min(read_ns, write_ns) : std::max(read_ns, write_ns);
    return saturating_add(now_ns_, shorter);
  }
  job.sending = job.wire.watch_sending && !sending.ended;
  if (job.sending && write_ns > 0) {
    const std::int64_t due = saturating_add(job.activity_ns, write_ns);
    // The sending may end at any time, and then the other one holds.
    return read_ns > 0 ? std::min(due, saturating_add(now_ns_, read_ns)) : due;
  }
  return read_ns > 0 ? saturating_add(job.activity_ns, read_ns) : kNever;
}

void Dispatcher::on_timer(Job& job) {
  if (now_ns_ >= job.deadline_ns) return stop(job, Stop::kDeadline);
  switch (job.stage) {
    case Stage::kBackoff:
      return enter_limits(job);
    case Stage::kParked: {
      parked_.erase(std::remove(parked_.begin(), parked_.end(), job.call->seq), parked_.end());
      return enter_ledger(job);
    }
    case Stage::kInFlight:
      // The timer is lazy: activity since it was set only moves it.
      if (silence_due_ns(job) <= now_ns_) return stop(job, Stop::kDeadline);
      return schedule(job);
    default:
      return schedule(job);
  }
}

// Ends a job before its answer did: by a deadline, because nobody waits any more, or because the
// answer breaks its format's bounds.
void Dispatcher::stop(Job& job, Stop why) {
  const bool deadline = why == Stop::kDeadline;
  const bool closed = why == Stop::kCancel && closing_;
  const char* const by_whom = closed ? "the gateway was closed" : "the call was cancelled";
  if (job.stage == Stage::kInFlight) {
    const bool sent = parts_.transport->cancel(job.call->seq);
    Failure failure = deadline ? (sent ? Failure::kDeadlineSent : Failure::kDeadlineUnsent)
                               : (sent ? Failure::kCancelledSent : Failure::kCancelledUnsent);
    if (why == Stop::kMalformed) failure = Failure::kInvalidResponse;
    auto answer = std::allocate_shared<Answer>(PoolAllocator<Answer>());
    answer->status = job.status;
    if (job.stream) job.stream->fill(*answer, job.asked().counted.get());
    Ending ending;
    const bool over = job.stream && job.stream->over();  // all of it had come
    if (over) failure = read_stream(job, {}, *answer, ending.error, ending.message);
    job.attempts.push_back(
        {job.attempt, job.status, failure, job.waited_ns, now_ns_ - job.sent_ns, job.request_id});
    report_breaker(job, outcome_row(failure), -1);
    if (over) return finish(job, failure, std::move(answer), std::move(ending));
    const bool silent = deadline && now_ns_ < job.deadline_ns;
    ending.message = silent && job.sending && job.asked().write_timeout_ns > 0
                         ? "write_timeout_s passed and the provider took no more of the request"
                     : silent                  ? "read_timeout_s passed without a byte"
                     : deadline                ? "a deadline of the call passed"
                     : why == Stop::kMalformed ? "the stream breaks its format's bounds"
                                               : by_whom;
    if (closed) ending.kind = ErrorKind::kClosed;
    return finish(job, failure, std::move(answer), std::move(ending));
  }
  const Failure failure = deadline ? Failure::kDeadlineUnsent : Failure::kCancelledUnsent;
  ErrorKind kind = outcome_row(failure).kind;
  if (closed) kind = ErrorKind::kClosed;
  if (deadline && job.stage == Stage::kReserving) kind = ErrorKind::kBudgetUnavailable;
  if (deadline && job.stage == Stage::kQueued) kind = ErrorKind::kLimited;
  if (deadline && job.stage == Stage::kParked) kind = ErrorKind::kBudgetExceeded;
  fail_unsent(job, failure, kind,
              deadline ? "the deadline passed before the call was sent" : by_whom);
}

void Dispatcher::run_due() {
  removed_.clear();
  while (Timer* timer = timers_.pop_due(now_ns_)) {
    Job* job = find(timer->seq);
    if (job == nullptr) continue;
    if (timer->waiter != 0) {
      on_waiter_deadline(*job, timer->waiter);
    } else {
      on_timer(*job);
    }
  }
  pump_groups();
}

std::int64_t Dispatcher::next_due_ns() const {
  std::int64_t due = timers_.next_ns();
  for (const Group* group : waiting_groups_) {
    due = std::min(due, group->dirty ? now_ns_ : group->pump_at_ns);
  }
  return due;
}

}  // namespace sluiceway::engine
