// The end of a call: what it cost, what the books say, who is told. See dispatcher.h.
#include <algorithm>
#include <utility>

#include "engine/dispatcher.h"
#include "engine/pricing.h"

namespace sluiceway::engine {
namespace {

constexpr std::int64_t kAccountOpenNs = 300 * kNsPerSecond;

// The caller's own limits end a flight for that caller only; the next in line pays and goes on.
bool is_own_error(ErrorKind kind, Outcome outcome) {
  switch (kind) {
    case ErrorKind::kBudgetExceeded:
    case ErrorKind::kBudgetUnavailable:
    case ErrorKind::kLimited:
    case ErrorKind::kAlreadySubmitted:
    case ErrorKind::kDeadlineExceeded:
    case ErrorKind::kCancelled:
      return outcome == Outcome::kNeverSent || outcome == Outcome::kRefused;  // by an earlier try
    case ErrorKind::kRequestTooLarge:
      return outcome == Outcome::kNeverSent;
    default:
      return false;
  }
}

limits::CallResult result_of(BreakerWord word) {
  switch (word) {
    case BreakerWord::kSuccess:
      return limits::CallResult::kSuccess;
    case BreakerWord::kFailure:
      return limits::CallResult::kFailure;
    default:
      return limits::CallResult::kIgnored;
  }
}

}  // namespace

void Dispatcher::report_breaker(Job& job, const OutcomeRow& row, std::int64_t retry_after_ns) {
  if (!job.has_breaker) return;
  job.has_breaker = false;
  const Route& route = job.route();
  const std::int64_t duration_ns = job.attempt > 0 ? now_ns_ - job.sent_ns : 0;
  if (route.breaker->report(job.breaker, result_of(row.breaker), duration_ns, now_ns_,
                            std::max<std::int64_t>(retry_after_ns, 0))) {
    note_breaker(job, *route.breaker, "model");
  }
  const bool account_trouble = row.breaker == BreakerWord::kAccount && !route.own_key;
  bool moved = route.account_breaker->report(job.account_breaker,
                                             account_trouble || row.breaker != BreakerWord::kSuccess
                                                 ? limits::CallResult::kIgnored
                                                 : limits::CallResult::kSuccess,
                                             duration_ns, now_ns_);
  if (account_trouble) moved = route.account_breaker->trip(now_ns_, kAccountOpenNs) || moved;
  if (moved) note_breaker(job, *route.account_breaker, "account");
}

void Dispatcher::note_breaker(const Job& job, limits::CircuitBreaker& breaker,
                              std::string_view which) {
  const limits::BreakerState state = breaker.state(now_ns_);
  if (state == limits::BreakerState::kOpen) {
    parts_.counters->breaker_opened.fetch_add(1, std::memory_order_relaxed);
  }
  note(EventKind::kBreaker, job,
       std::string(which) + " " + std::string(limits::breaker_state_name(state)));
}

void Dispatcher::release_permit(Job& job, Failure failure, const Answer* answer) {
  if (!job.has_permit) return;
  job.has_permit = false;
  Group& group = *job.route().group;
  const limits::Amounts& estimated = job.asked().amounts;
  const OutcomeRow& row = outcome_row(failure);
  if (job.stage != Stage::kInFlight) {
    group.limits->give_back(estimated, now_ns_);
  } else if (row.outcome == Outcome::kNeverSent) {
    group.limits->settle(estimated, limits::Amounts{}, job.sent_ns, now_ns_);
  } else {
    limits::Amounts actual = estimated;
    if (failure == Failure::kNone && answer != nullptr && answer->usage.any()) {
      const auto at = [&](limits::Dimension d) -> std::int64_t& {
        return actual[static_cast<std::size_t>(d)];
      };
      const std::int64_t input = cost::prompt_tokens(answer->usage);
      const std::int64_t output =
          answer->usage.get(Bucket::kOutput) + answer->usage.get(Bucket::kReasoning);
      at(limits::Dimension::kInputTokens) = input;
      at(limits::Dimension::kOutputTokens) = output;
      at(limits::Dimension::kTokens) = saturating_add(input, output);
    }
    group.limits->settle(estimated, actual, job.sent_ns, now_ns_);
  }
  group.dirty = true;
}

Books Dispatcher::settle(Job& job, const OutcomeRow& row, Answer* answer, Ending& ending) {
  if (job.route().free) {
    ending.cost = 0;
    return Books::kVoid;
  }
  if (job.route().job && row.failure == Failure::kNone) {
    ending.held = job.asked().ceiling;
    return Books::kKeep;
  }
  Books books = row.books;
  bool whole = row.failure == Failure::kNone;
  if (job.stream) {
    whole =
        whole ? job.stream->usage_whole() : job.stream->usage_final() && books == Books::kInDoubt;
  }
  // By the monotonic clock: a step of the wall clock is not a change of the hour.
  const Span span{job.sent_wall_ns, saturating_add(job.sent_wall_ns, now_ns_ - job.sent_ns)};
  const bool known = answer != nullptr && whole && price_answer(job.route(), span, *answer);
  if (known) {
    books = Books::kSettle;
    ending.outcome = Outcome::kDone;  // what is billed is known, and so is that it was executed
  } else if (books == Books::kSettle) {
    books = Books::kInDoubt;
  }
  if (answer != nullptr) {
    if (books == Books::kInDoubt) {  // of what was delivered, for people
      estimate_answer(job.route(), span, job.wire.body.size(), *answer);
    }
    ending.cost_source = answer->cost_source;
    ending.price_version = answer->price_version;
    if (books != Books::kInDoubt || answer->cost_source == CostSource::kEstimated) {
      ending.cost = answer->cost;
    }
  }
  if (books == Books::kVoid) ending.cost = 0;
  if (books == Books::kInDoubt) ending.held = job.asked().ceiling;
  return books;
}

void Dispatcher::write_books(Job& job, Books books, const Answer* answer, Nanousd amount) {
  if (!job.reserved) return;
  job.reserved = false;
  store::Finish finish;
  finish.call_id = job.asked().call_id;
  finish.attempts = job.attempt;
  finish.provider_request_id = job.request_id;
  finish.latency_ns = job.sent_ns > 0 ? now_ns_ - job.sent_ns : 0;
  switch (books) {
    case Books::kSettle:
      finish.kind = store::EntryKind::kSettle;
      finish.amount = amount;
      if (amount > job.asked().ceiling) {
        parts_.counters->overruns.fetch_add(1, std::memory_order_relaxed);
        note(EventKind::kOverrun, job, std::to_string(amount - job.asked().ceiling) + " nanousd");
      }
      break;
    case Books::kVoid:
      finish.kind = store::EntryKind::kVoid;
      break;
    case Books::kInDoubt:
      finish.kind = store::EntryKind::kInDoubt;
      parts_.counters->in_doubt.fetch_add(1, std::memory_order_relaxed);
      note(EventKind::kInDoubt, job, std::to_string(job.asked().ceiling) + " nanousd held");
      break;
    case Books::kKeep:
      return;
  }
  if (answer != nullptr) {
    finish.usage = answer->usage;
    finish.price_version = answer->price_version;
    finish.estimated = answer->cost_source == CostSource::kEstimated;
  }
  parts_.ledger->finish(std::move(finish));
  if (!parked_.empty()) unpark_one();
}

void Dispatcher::finish(Job& job, Failure failure, std::shared_ptr<Answer> answer, Ending ending) {
  const OutcomeRow& row = outcome_row(failure);
  if (ending.kind == ErrorKind::kNone) ending.kind = row.kind;
  ending.outcome = row.outcome;
  ending.failure = failure;
  ending.status = job.status;
  ending.retry_after_ns = std::max(ending.retry_after_ns, job.retry_after_ns);
  ending.request_id = job.request_id;
  release_permit(job, failure, answer.get());
  const Books books = settle(job, row, answer.get(), ending);
  write_books(job, books, answer.get(), ending.cost);
  if (answer) {
    answer->bytes =
        sizeof(Answer) + answer->body.size() + answer->text.size() + answer->reasoning_text.size();
    if (failure == Failure::kNone && job.flight && parts_.cache != nullptr) {
      parts_.cache->put(job.asked().cache_key, answer, job.asked().cache_ttl_ns, now_ns_);
    }
  }
  ending.answer = std::move(answer);
  publish(job, std::move(ending));
}

void Dispatcher::fail_unsent(Job& job, Failure failure, ErrorKind kind, std::string message,
                             Ending ending) {
  if (job.stage == Stage::kReserving) {
    abandoned_[job.call->seq] = job.asked().call_id;
  } else if (job.stage == Stage::kQueued && job.route().group && !job.has_permit) {
    Group& group = *job.route().group;
    if (group.limits->cancel(job.call->seq, now_ns_) && group.queued > 0) --group.queued;
    group.dirty = true;
  }
  const OutcomeRow& row = outcome_row(failure);
  report_breaker(job, row, -1);
  release_permit(job, failure, nullptr);
  ending.kind = kind;
  ending.outcome = row.outcome;
  ending.failure = failure;
  ending.message = std::move(message);
  // An earlier attempt may have been refused by the provider: that is what the caller should see.
  if (!job.attempts.empty()) {
    ending.outcome = outcome_row(job.attempts.back().failure).outcome;
    ending.status = job.attempts.back().status;
    ending.request_id = job.attempts.back().request_id;
  }
  ending.cost = 0;
  write_books(job, Books::kVoid, nullptr, 0);
  publish(job, std::move(ending));
}

void Dispatcher::publish(Job& job, Ending ending) {
  ending.attempts = std::move(job.attempts);
  ending.queue_ns = job.queue_ns;
  if (!job.flight) {
    complete(*job.call, std::move(ending));
    return remove(job);
  }
  // The payer may have left already; then nobody gets an error that was only the payer's own.
  const bool own = !closing_ && is_own_error(ending.kind, ending.outcome);
  std::vector<std::unique_ptr<Waiter>> waiters = std::move(job.waiters);
  job.waiters.clear();
  for (auto& waiter : waiters) {
    if (own && waiter->call != job.call) continue;
    timers_.remove(waiter->timer);
    joined_.erase(waiter->call->seq);
    Ending copy = ending;
    copy.cache = waiter->call == job.call ? CacheWord::kMiss : CacheWord::kJoined;
    if (waiter->call != job.call) copy.cost = copy.held = 0;  // the payer's scopes pay
    complete(*waiter->call, std::move(copy));
    waiter.reset();
  }
  waiters.erase(std::remove(waiters.begin(), waiters.end(), nullptr), waiters.end());
  remove(job);
  if (waiters.empty()) return;
  auto next = std::make_unique<Job>(*this, waiters.front()->call);
  next->flight = true;
  const std::uint64_t seq = next->call->seq;
  joined_.erase(seq);
  for (auto& waiter : waiters) {
    waiter->timer.seq = seq;
    if (waiter->call->seq != seq) joined_[waiter->call->seq] = seq;
    next->deadline_ns = std::max(next->deadline_ns, waiter->call->request.deadline_ns);
  }
  next->waiters = std::move(waiters);
  start(std::move(next));
}

void Dispatcher::complete(Call& call, Ending ending) {
  call.request.parts.reset();  // closes its files: a result may be kept for long
  ending.latency_ns = now_ns_ - call.submitted_ns;
  auto& counters = *parts_.counters;
  counters.completed.fetch_add(1, std::memory_order_relaxed);
  (ending.kind == ErrorKind::kNone ? counters.succeeded : counters.failed)
      .fetch_add(1, std::memory_order_relaxed);
  call.finish(std::move(ending), ports_);
}

void Dispatcher::remove(Job& job) {
  const std::uint64_t seq = job.call->seq;
  timers_.remove(job.timer);
  job.wire.parts.reset();  // now: the engine may sleep before the job itself goes
  if (job.reads_files) --reading_files_;
  if (job.flight) {
    const auto flight = flights_.find(job.asked().cache_key);
    if (flight != flights_.end() && flight->second == seq) flights_.erase(flight);
  }
  const auto found = jobs_.find(seq);
  removed_.push_back(std::move(found->second));  // a callback of its own may still be on the stack
  jobs_.erase(found);
}

void Dispatcher::cancel(std::uint64_t seq) {
  const auto joined = joined_.find(seq);
  Job* job = find(joined == joined_.end() ? seq : joined->second);
  if (job == nullptr) return;
  if (!job->flight) return stop(*job, Stop::kCancel);
  Ending ending;
  ending.kind = ErrorKind::kCancelled;
  ending.outcome = job->stage == Stage::kInFlight ? Outcome::kInDoubt : Outcome::kNeverSent;
  ending.message = "the call was cancelled";
  leave(*job, static_cast<std::uint32_t>(seq), std::move(ending));
}

void Dispatcher::on_waiter_deadline(Job& job, std::uint32_t number) {
  Ending ending;
  ending.kind = ErrorKind::kDeadlineExceeded;
  ending.outcome = job.stage == Stage::kInFlight ? Outcome::kInDoubt : Outcome::kNeverSent;
  ending.message = "a deadline of the call passed";
  const bool payers = job.waiters.size() == 1 && job.waiters.front()->call == job.call;
  if (payers) return stop(job, Stop::kDeadline);
  leave(job, number, std::move(ending));
}

// One caller of a flight goes; the transfer goes on for the others and ends with the last.
void Dispatcher::leave(Job& job, std::uint32_t number, Ending ending) {
  const auto is_it = [&](const auto& waiter) {
    return static_cast<std::uint32_t>(waiter->call->seq) == number;
  };
  if (std::none_of(job.waiters.begin(), job.waiters.end(), is_it)) return;  // it has left before
  if (job.waiters.size() == 1 && job.waiters.front()->call == job.call) {
    return stop(job, Stop::kCancel);
  }
  if (!closing_ && job.stage != Stage::kInFlight &&
      static_cast<std::uint32_t>(job.call->seq) == number) {
    // The payer goes while nothing is on the wire: it takes its reservation along, the next pays.
    return stop(job, ending.kind == ErrorKind::kDeadlineExceeded ? Stop::kDeadline : Stop::kCancel);
  }
  for (auto& waiter : job.waiters) {
    if (static_cast<std::uint32_t>(waiter->call->seq) != number) continue;
    timers_.remove(waiter->timer);
    joined_.erase(waiter->call->seq);
    if (waiter->call == job.call && ending.outcome == Outcome::kInDoubt) {
      ending.held = job.asked().ceiling;
    }
    complete(*waiter->call, std::move(ending));
    std::swap(waiter, job.waiters.back());
    job.waiters.pop_back();
    break;
  }
  // The payer has left before: without anybody, the flight must not be tried, or paid, again.
  if (job.waiters.empty()) stop(job, Stop::kCancel);
}

void Dispatcher::shut_down() {
  closing_ = true;
  std::vector<std::uint64_t> all;
  for (const auto& [seq, job] : jobs_) all.push_back(seq);
  for (const std::uint64_t seq : all) {
    Job* job = find(seq);
    if (job == nullptr) continue;
    job->flight = job->flight && !job->waiters.empty();
    // A closing engine must not start the next in line of a flight.
    while (job->waiters.size() > 1) {
      Ending ending;
      ending.kind = ErrorKind::kClosed;
      ending.outcome = job->stage == Stage::kInFlight ? Outcome::kInDoubt : Outcome::kNeverSent;
      ending.message = "the gateway was closed";
      leave(*job, static_cast<std::uint32_t>(job->waiters.back()->call->seq), std::move(ending));
    }
    stop(*job, Stop::kCancel);
  }
  removed_.clear();
}

void Dispatcher::share_limits(int engines) {
  if (engines == share_ || engines < 1) return;
  share_ = engines;
  for (const auto& [raw, group] : groups_) {
    group->limits->set_share(1, engines, now_ns_);
    group->dirty = true;
  }
}

void Dispatcher::take_ports(std::vector<std::shared_ptr<Port>>& out) {
  out.insert(out.end(), std::make_move_iterator(ports_.begin()),
             std::make_move_iterator(ports_.end()));
  ports_.clear();
}

void Dispatcher::note(EventKind kind, const Job& job, std::string detail) {
  const Route& route = job.route();
  parts_.events->add({kind, route.provider, route.account, route.model, job.asked().call_id,
                      std::move(detail), wall_ns_});
}

Job* Dispatcher::find(std::uint64_t seq) {
  const auto found = jobs_.find(seq);
  return found == jobs_.end() ? nullptr : found->second.get();
}

}  // namespace sluiceway::engine
