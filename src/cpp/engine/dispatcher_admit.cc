// From submission to the first byte: flights, limits, breaker, reservation. See dispatcher.h.
#include <algorithm>
#include <utility>

#include "engine/dispatcher.h"

namespace sluiceway::engine {
namespace {

constexpr std::int64_t kParkRetryNs = 20'000'000;  // other processes' settlements are not announced
// What a socket takes in one go: a larger body is looked after while it is sent.
constexpr std::int64_t kSentAtOnceBytes = 16'384;
constexpr std::int64_t kWindowRetryNs = 250'000'000;  // nothing but the window's end brings room

// The scope that a verdict names, with its window; null: none of the call's.
const store::Scope* scope_named(const CallRequest& asked, std::string_view name, std::size_t* at) {
  for (std::size_t i = 0; i < asked.scopes.size(); ++i) {
    const store::Scope& scope = *asked.scopes[i];
    const std::string& own = scope.name();
    const bool windowed = scope.config().period != Period::kNone && name.size() > own.size() &&
                          name.starts_with(own) &&
                          (name[own.size()] == '@' || name[own.size()] == ':');
    if (name != own && !windowed) continue;
    *at = i;
    return &scope;
  }
  return nullptr;
}

bool waits(const CallRequest& asked, std::size_t scope) {
  return asked.on_exceed == OnExceed::kWait &&
         (scope >= 32 || ((asked.waiting_scopes >> scope) & 1u) != 0);
}

// Whether a hint is not enough: who waits, or cuts the call to what is left, needs the true
// balance.
bool needs_verdict(const CallRequest& asked, std::size_t scope) {
  return waits(asked, scope) || scope >= 32 || ((asked.exact_scopes >> scope) & 1u) != 0;
}

// When a scope that settled money alone has filled may have room again: the end of its window, or
// the next slot of a rolling one. kNever: only by another limit.
std::int64_t window_wait_ns(const store::Scope& scope, std::int64_t wall_ns) {
  const store::ScopeConfig& config = scope.config();
  if (config.rolling_ns > 0) return config.rolling_ns / store::kRollingSlots;
  const std::int64_t end_ns = window_end_ns(config.period, wall_ns, scope.zone());
  return end_ns == INT64_MAX ? kNever : std::max<std::int64_t>(end_ns - wall_ns, 0);
}

}  // namespace

void Dispatcher::submit(std::shared_ptr<Call> call) {
  const CallRequest& asked = call->request;
  if (asked.cache_ttl_ns > 0 && !asked.stream) {
    const auto found = flights_.find(asked.cache_key);
    if (found != flights_.end()) {
      Job& flight = *jobs_[found->second];
      auto waiter = std::make_unique<Waiter>();
      waiter->call = std::move(call);
      waiter->timer.seq = flight.call->seq;
      waiter->timer.waiter = static_cast<std::uint32_t>(waiter->call->seq);
      timers_.set(waiter->timer, asked.deadline_ns);
      flight.deadline_ns = std::max(flight.deadline_ns, asked.deadline_ns);
      joined_[waiter->call->seq] = flight.call->seq;
      parts_.counters->flights_joined.fetch_add(1, std::memory_order_relaxed);
      flight.waiters.push_back(std::move(waiter));
      return;
    }
  }
  auto job = std::make_unique<Job>(*this, std::move(call));
  job->deadline_ns = job->asked().deadline_ns;
  if (job->asked().cache_ttl_ns > 0 && !job->asked().stream) {
    job->flight = true;
    auto waiter = std::make_unique<Waiter>();
    waiter->call = job->call;
    waiter->timer.seq = job->call->seq;
    waiter->timer.waiter = static_cast<std::uint32_t>(job->call->seq);
    timers_.set(waiter->timer, job->deadline_ns);
    job->waiters.push_back(std::move(waiter));
    parts_.counters->cache_misses.fetch_add(1, std::memory_order_relaxed);
  }
  start(std::move(job));
}

void Dispatcher::start(std::unique_ptr<Job> owned) {
  Job& job = *owned;
  const std::uint64_t seq = job.call->seq;
  job.timer.seq = seq;
  job.stage_ns = now_ns_;
  if (job.flight) flights_[job.asked().cache_key] = seq;
  job.reads_files = job.asked().parts != nullptr;
  if (job.reads_files) ++reading_files_;
  jobs_[seq] = std::move(owned);
  if (const auto& group = job.route().group) {
    if (groups_.emplace(group.get(), group).second && share_ > 1) {
      group->limits->set_share(1, share_, now_ns_);
      group->limits->drain(now_ns_);  // who joins others brings no fresh burst
    }
  }
  if (now_ns_ >= job.deadline_ns) {
    return fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kDeadlineExceeded,
                       "the deadline had passed before the call was submitted");
  }
  enter_limits(job);
}

void Dispatcher::enter_limits(Job& job) {
  const auto& group = job.route().group;
  job.stage = Stage::kQueued;
  if (!group) return enter_breaker(job);
  const CallRequest& asked = job.asked();
  const limits::Decision decision = group->limits->submit(
      {job.call->seq, asked.tenant_number, asked.priority, asked.amounts, job.deadline_ns},
      now_ns_);
  if (decision.grant == limits::Grant::kGranted) {
    job.has_permit = true;
    job.permit_ns = now_ns_;
    return enter_breaker(job);
  }
  if (decision.grant == limits::Grant::kQueued) {
    ++group->queued;
    wait_in(*group);
    group->pump_at_ns = std::min(group->pump_at_ns, saturating_add(now_ns_, decision.wait_ns));
    note(EventKind::kLimitWait, job, std::string(dimension_name(decision.dimension)));
    return schedule(job);
  }
  Ending ending;
  ending.limit = LimitRefusal{decision.dimension, decision.wait_ns};
  if (decision.wait_ns != limits::kNever) ending.retry_after_ns = decision.wait_ns;
  parts_.counters->refused_by_limits.fetch_add(1, std::memory_order_relaxed);
  note(EventKind::kLimitRefused, job, std::string(dimension_name(decision.dimension)));
  if (decision.grant == limits::Grant::kRefusedTooLarge) {
    return fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kRequestTooLarge,
                       "the request asks for more " +
                           std::string(dimension_name(decision.dimension)) +
                           " than its limit allows in a whole window; no wait would help",
                       std::move(ending));
  }
  fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kLimited,
              decision.grant == limits::Grant::kRefusedFull
                  ? "the limiter's queue is full"
                  : "the limiter's computed wait passes the deadline",
              std::move(ending));
}

void Dispatcher::wait_in(Group& group) {
  if (std::find(waiting_groups_.begin(), waiting_groups_.end(), &group) == waiting_groups_.end()) {
    waiting_groups_.push_back(&group);
  }
}

void Dispatcher::pump_groups() {
  for (std::size_t i = 0; i < waiting_groups_.size();) {
    Group& group = *waiting_groups_[i];
    if (group.dirty || group.pump_at_ns <= now_ns_) pump(group);
    if (group.queued == 0) {
      group.pump_at_ns = kNever;
      group.dirty = false;
      waiting_groups_[i] = waiting_groups_.back();
      waiting_groups_.pop_back();
    } else {
      ++i;
    }
  }
}

void Dispatcher::pump(Group& group) {
  group.dirty = false;
  std::vector<std::uint64_t> granted, expired;
  group.pump_at_ns = group.limits->pump(now_ns_, &granted, &expired);
  for (const std::uint64_t seq : granted) {
    if (group.queued > 0) --group.queued;
    Job* job = find(seq);
    if (job == nullptr) continue;
    job->has_permit = true;
    job->permit_ns = now_ns_;
    enter_breaker(*job);
  }
  for (const std::uint64_t seq : expired) {
    if (group.queued > 0) --group.queued;
    if (Job* job = find(seq)) {
      fail_unsent(*job, Failure::kDeadlineUnsent, ErrorKind::kLimited,
                  "the deadline passed while the call waited for the limiter");
    }
  }
}

void Dispatcher::enter_breaker(Job& job) {
  const Route& route = job.route();
  job.account_breaker = route.account_breaker->acquire(now_ns_, job.deadline_ns);
  const limits::BreakerPermit* refused = nullptr;
  std::string_view which = "account";
  if (!job.account_breaker.granted) {
    refused = &job.account_breaker;
  } else {
    job.breaker = route.breaker->acquire(now_ns_, job.deadline_ns);
    if (!job.breaker.granted) {
      route.account_breaker->report(job.account_breaker, limits::CallResult::kIgnored, 0, now_ns_);
      refused = &job.breaker;
      which = "model";
    }
  }
  if (refused != nullptr) {
    Ending ending;
    if (refused->retry_at_ns != INT64_MAX) {
      ending.retry_after_ns = std::max<std::int64_t>(refused->retry_at_ns - now_ns_, 0);
    }
    parts_.counters->refused_by_breaker.fetch_add(1, std::memory_order_relaxed);
    return fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kBreakerOpen,
                       "the breaker of this " + std::string(which) + " is open", std::move(ending));
  }
  job.has_breaker = true;
  enter_ledger(job);
}

bool Dispatcher::fits_hints(Job& job) {
  const CallRequest& asked = job.asked();
  for (std::size_t i = 0; i < asked.scopes.size(); ++i) {
    const auto& scope = asked.scopes[i];
    if (!scope->surely_exceeded(asked.ceiling, now_ns_) || needs_verdict(asked, i)) continue;
    Ending ending;
    ending.budget = std::make_shared<const BudgetRefusal>(BudgetRefusal{
        scope->name(),
        {scope->limit(), scope->settled(), scope->held(), scope->in_doubt(), scope->blocked()},
        asked.ceiling});
    parts_.counters->refused_by_budget.fetch_add(1, std::memory_order_relaxed);
    note(EventKind::kBudgetRefused, job, scope->name());
    fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kBudgetExceeded,
                "no room in budget " + scope->name(), std::move(ending));
    return false;
  }
  return true;
}

void Dispatcher::enter_ledger(Job& job) {
  if (job.route().free || job.reserved) return send(job);
  if (!fits_hints(job)) return;
  const CallRequest& asked = job.asked();
  store::Reservation reservation;
  reservation.token = job.call->seq;
  reservation.call_id = asked.call_id;
  reservation.intent_id = asked.intent_id;
  reservation.amount = asked.ceiling;
  reservation.scopes = asked.scopes;
  reservation.labels = asked.labels ? asked.labels : job.route().labels;
  reservation.idempotency_key = asked.idempotency_key;
  reservation.price_version = asked.price_version;
  reservation.deadline_ns = job.deadline_ns;
  job.stage = Stage::kReserving;
  schedule(job);
  parts_.ledger->reserve(std::move(reservation));
}

void Dispatcher::on_verdicts(std::span<store::Verdict> verdicts) {
  for (auto& verdict : verdicts) {
    Job* job = find(verdict.token);
    if (job == nullptr || job->stage != Stage::kReserving) {
      const auto left = abandoned_.find(verdict.token);
      if (left == abandoned_.end()) continue;
      if (verdict.kind == store::Verdict::kAdmitted) {
        parts_.ledger->finish({.call_id = left->second, .kind = store::EntryKind::kVoid});
      }
      abandoned_.erase(left);
      continue;
    }
    job->stage = Stage::kDecided;
    if (verdict.kind == store::Verdict::kAdmitted) {
      job->reserved = true;
      admitted(*job);
    } else {
      refused_by_ledger(*job, verdict);
    }
  }
}

void Dispatcher::admitted(Job& job) {
  // One freed place may be room for several small calls: whoever gets in lets the next one ask.
  if (!parked_.empty()) unpark_one();
  send(job);
}

void Dispatcher::refused_by_ledger(Job& job, store::Verdict& verdict) {
  Ending ending;
  switch (verdict.kind) {
    case store::Verdict::kDuplicate:
      ending.earlier_call = verdict.earlier_call;
      return fail_unsent(
          job, Failure::kDeadlineUnsent, ErrorKind::kAlreadySubmitted,
          "this idempotency key was used before by call " + verdict.earlier_call.text(),
          std::move(ending));
    case store::Verdict::kUnavailable:
      return fail_unsent(
          job, Failure::kDeadlineUnsent, ErrorKind::kBudgetUnavailable,
          "the ledger did not admit the call: " + std::string(to_std(verdict.error.message())));
    default:
      break;
  }
  const ScopeBalance& b = verdict.balance;
  std::size_t at = 0;
  const store::Scope* scope = scope_named(job.asked(), verdict.scope, &at);
  if (verdict.kind == store::Verdict::kExceeded && scope != nullptr && waits(job.asked(), at)) {
    // Room comes when running calls end; else only with the next window, if that is in time.
    if (saturating_add(saturating_add(b.settled, b.in_doubt), verdict.amount) <= b.limit) {
      return park(job, kParkRetryNs);
    }
    const std::int64_t wait_ns = window_wait_ns(*scope, wall_ns_);
    if (verdict.amount <= b.limit && wait_ns < job.deadline_ns - now_ns_) {
      return park(job, std::clamp(wait_ns, kParkRetryNs, kWindowRetryNs));
    }
  }
  ending.budget =
      std::make_shared<const BudgetRefusal>(BudgetRefusal{verdict.scope, b, verdict.amount});
  parts_.counters->refused_by_budget.fetch_add(1, std::memory_order_relaxed);
  note(EventKind::kBudgetRefused, job, verdict.scope);
  fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kBudgetExceeded,
              b.blocked ? "budget " + verdict.scope + " is blocked by an overrun"
                        : "no room in budget " + verdict.scope,
              std::move(ending));
}

void Dispatcher::park(Job& job, std::int64_t wait_ns) {
  job.stage = Stage::kParked;
  job.resume_ns = now_ns_ + wait_ns;
  parked_.push_back(job.call->seq);
  schedule(job);
}

void Dispatcher::unpark_one() {
  while (!closing_ && !parked_.empty()) {
    Job* job = find(parked_.front());
    parked_.pop_front();
    if (job != nullptr && job->stage == Stage::kParked) return enter_ledger(*job);
  }
}

void Dispatcher::send(Job& job) {
  if (now_ns_ >= job.deadline_ns) {
    return fail_unsent(job, Failure::kDeadlineUnsent, ErrorKind::kDeadlineExceeded,
                       "the deadline passed before the call was sent");
  }
  const Route& route = job.route();
  CallRequest& asked = job.call->request;
  if (job.attempt == 0) {
    job.wire.method = route.method;
    job.wire.url = route.url;
    job.wire.headers = route.headers;
    job.wire.tls = route.tls;
    job.wire.version = route.version;
    job.wire.proxy = route.proxy;
    job.wire.unix_socket = route.unix_socket;
    job.wire.paid = !route.free;
    job.wire.idle_reuse_max_ns = route.idle_reuse_max_ns;
    job.wire.body = std::move(asked.body);  // kept there for the next attempt
    job.wire.parts = std::move(asked.parts);
    job.wire.watch_sending =
        asked.write_timeout_ns > 0 ||
        (asked.read_timeout_ns > 0 && job.wire.body_bytes() > kSentAtOnceBytes);
    job.wire.head_at_once = asked.read_timeout_ns > 0;  // a head is no silence
    route.retry_budget->on_first_attempt(now_ns_);
  }
  ++job.attempt;
  if (job.has_permit) route.group->limits->sent(asked.amounts, now_ns_);
  job.wire.extra_headers = asked.extra_headers;
  if (route.send_attempt_header) {
    job.wire.extra_headers.push_back(
        {"sluiceway-attempt", asked.call_id.text() + "/" + std::to_string(job.attempt)});
  }
  if (!route.idempotency_header.empty()) {
    job.wire.extra_headers.push_back({route.idempotency_header, asked.call_id.text()});
  }
  // Not cut down to what is left: the call's own deadline would race with it and lose.
  job.wire.connect_timeout_ns = asked.connect_timeout_ns;
  job.wire.pool_timeout_ns = asked.pool_timeout_ns;
  job.waited_ns = now_ns_ - job.stage_ns;
  job.queue_ns += job.waited_ns;
  job.status = 0;
  job.request_id.clear();
  job.retry_after_ns = -1;
  job.body.clear();
  job.headers.clear();
  job.stream.reset();
  job.first_seen = false;
  job.passes_bytes = false;
  job.sent_ns = job.activity_ns = now_ns_;
  job.sent_wall_ns = wall_ns_;
  job.stage = Stage::kInFlight;
  parts_.counters->attempts.fetch_add(1, std::memory_order_relaxed);
  parts_.transport->start(job.call->seq, &job.wire, &job);
  schedule(job);
}

}  // namespace sluiceway::engine
