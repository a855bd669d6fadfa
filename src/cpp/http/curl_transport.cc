// The real transport, its turn: see curl_transport.h. Source: curl_multi_socket_action(3), RFC
// 9112, RFC 9113.
#include "http/curl_transport_impl.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include <time.h>

#include "http/curl_handles.h"

namespace sluiceway::http {

namespace {

// In one turn, some 15 us each: an event loop may wait for it.
constexpr int kEventsMax = 64;
// After a connection broke under a request: how long refusals on this origin are looked out for.
constexpr std::int64_t kWatchedNs = 300'000'000'000;

}  // namespace

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

bool CurlTransport::open() {
  if (!curl_ready() || !poller_.open()) return false;
  share_ =
      curl_share_init();  // name look-ups and TLS sessions serve all shards; one thread, no locks
  if (share_ == nullptr) return false;
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return true;
}

CurlTransport::~CurlTransport() { close(); }

void CurlTransport::close() {
  for (auto& transfer : running_) {
    transfer->detach();
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
  }
  running_.clear();
  new_.clear();
  cancelled_.clear();
  resumed_.clear();
  freed_.clear();
  resets_.clear();
  places_.clear();
  for (auto& [key, origin] : origins_) {
    origin->idle.clear();
    origin->waiting.clear();
  }
  for (std::unique_ptr<Shard>& shard : shards_) {
    if (shard != nullptr) curl_multi_cleanup(std::exchange(shard->multi, nullptr));
  }
  if (share_ != nullptr) curl_share_cleanup(std::exchange(share_, nullptr));
}

// --- the caller's side

// Nothing of libcurl is called here: these may run inside its callbacks.
void CurlTransport::start(std::uint64_t id, Request* request, Sink* sink) {
  Place place;
  place.new_index = new_.size();
  places_[id] = place;
  new_.push_back({id, request, sink, nullptr, monotonic_ns(), 0});
}

bool CurlTransport::cancel(std::uint64_t id) {
  const auto found = places_.find(id);
  if (found == places_.end()) return false;
  const Place place = found->second;
  places_.erase(found);
  ++stats_.transfers_cancelled;
  if (place.running != nullptr) {
    place.running->detach();
    cancelled_.push_back(place.running);
    return place.running->request_started;
  }
  if (place.origin == nullptr) {
    new_[place.new_index].sink = nullptr;
    return false;
  }
  if (place.waiting->deadline_ns != 0) pool_deadlines_.erase({place.waiting->deadline_ns, id});
  place.origin->waiting.erase(place.waiting);
  --stats_.queued;
  return false;
}

void CurlTransport::pause(std::uint64_t id) {
  const auto found = places_.find(id);
  if (found != places_.end() && found->second.running != nullptr) {
    found->second.running->pause_wanted = true;
  }
}

void CurlTransport::resume(std::uint64_t id) {
  const auto found = places_.find(id);
  if (found == places_.end() || found->second.running == nullptr) return;
  Transfer& transfer = *found->second.running;
  transfer.pause_wanted = false;
  if (!transfer.paused || transfer.resume_listed) return;
  transfer.resume_listed = true;
  resumed_.push_back(id);
}

Sending CurlTransport::sending(std::uint64_t id) const {
  const auto found = places_.find(id);
  if (found == places_.end()) return {true, true, 0};
  return found->second.running == nullptr ? Sending{} : found->second.running->sending();
}

TransportStats CurlTransport::stats() const {
  return {.transfers_started = stats_.transfers_started.value(),
          .transfers_ended = stats_.transfers_ended.value(),
          .transfers_cancelled = stats_.transfers_cancelled.value(),
          .connections_opened = poller_.opened_count(),
          .connections_reused = stats_.connections_reused.value(),
          .connections_open = poller_.open_now(),
          .in_flight = stats_.in_flight.value(),
          .queued = stats_.queued.value(),
          .epoll_ctl_calls = poller_.ctl_calls(),
          .epoll_wait_calls = poller_.wait_calls(),
          .resends_stopped = stats_.resends_stopped.value(),
          .streams_refused = stats_.streams_refused.value(),
          .watchdog_runs = stats_.watchdog_runs.value(),
          .watchdog_progress = stats_.watchdog_progress.value()};
}

// --- the turn

void CurlTransport::poll(std::int64_t timeout_ns) {
  const std::uint64_t before = activity_;
  std::int64_t now = monotonic_ns();
  run_deferred();
  run_timers(now);
  // What was started or finished just now leads to more at once; bounded, for a loopback server can
  // be quick enough to go on like this.
  for (int i = 0; i < 4 && run_deferred(); ++i) run_timers(now = monotonic_ns());
  if (activity_ != before) timeout_ns = 0;
  if (!poller_.muted.empty()) unmute();  // before anything is read: it may be a GOAWAY

  epoll_event events[kEventsMax];
  const std::int64_t wait = wait_ns(timeout_ns, now);
  waits_until_ns_ = wait < 0 ? -1 : now + wait;
  const bool open = turn_ != nullptr && wait != 0;
  if (open) turn_->unlock();
  const int ready = poller_.wait(events, kEventsMax, wait);
  if (open) turn_->lock();
  run_events(events, ready);
  now = monotonic_ns();
  run_timers(now);
  expire_pool_waits(now);
  expire_settling(now);
  watch(now);
  if (now >= house_due_ns_) keep_house(now);
  // The requests that sinks have just started leave in this turn.
  for (int i = 0; i < 4 && run_deferred(); ++i) run_timers(now = monotonic_ns());
  if (!poller_.muted.empty()) unmute();
}

bool CurlTransport::visit(std::int64_t due_ns) {
  std::int64_t now = monotonic_ns();
  for (int i = 0; i < 4 && run_deferred(); ++i) run_timers(now = monotonic_ns());
  if (!poller_.muted.empty()) unmute();
  const std::int64_t wait = wait_ns(due_ns < 0 ? -1 : std::max<std::int64_t>(due_ns - now, 0), now);
  return wait >= 0 && (waits_until_ns_ < 0 || now + wait < waits_until_ns_);
}

void CurlTransport::run_events(const epoll_event* events, int count) {
  for (int i = 0; i < count; ++i) {
    if (poller_.is_bell(events[i])) {
      poller_.clear_bell();
      continue;
    }
    const int fd = Poller::fd_of(events[i]);
    Poller::Entry* entry = poller_.entry_of(events[i]);
    // Closed since, by an event before this one or while a thread had them in hand and not the
    // turn.
    if (entry == nullptr) continue;
    int mask = 0;
    std::uint8_t seen = 0;
    if (events[i].events & EPOLLIN) mask |= CURL_CSELECT_IN, seen |= Poller::kRead;
    if (events[i].events & EPOLLOUT) mask |= CURL_CSELECT_OUT, seen |= Poller::kWrite;
    const bool broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
    if (broken) mask |= CURL_CSELECT_ERR;
    if ((seen & ~entry->wanted) != 0 || (broken && entry->wanted == 0)) {
      if (entry->wanted == 0 && entry->origin != nullptr && Poller::peer_closed(fd)) {
        entry->origin->idle_closed_ns = monotonic_ns();
      }
      poller_.silence(fd);
    }
    if (entry->state == Poller::Entry::State::kConnected && (seen & Poller::kRead) != 0) {
      hear(*entry);
    }
    if (entry->wanted != 0 && entry->shard != nullptr) act(*entry->shard, fd, mask);
  }
}

std::int64_t CurlTransport::wait_ns(std::int64_t timeout_ns, std::int64_t now) const {
  if (!new_.empty() || !cancelled_.empty() || !resumed_.empty() || !freed_.empty() ||
      !resets_.empty()) {
    return 0;
  }
  std::int64_t until = timeout_ns < 0 ? -1 : now + timeout_ns;
  const auto earlier = [&until](std::int64_t due) {
    if (until < 0 || due < until) until = due;
  };
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard* const shard = shards_[i].get();
    if (shard != nullptr && shard->due_ns >= 0) earlier(shard->due_ns);
  }
  if (!pool_deadlines_.empty()) earlier(pool_deadlines_.begin()->first);
  if (!poller_.settling.empty()) earlier(poller_.settling.front().second);
  if (!running_.empty()) earlier(watchdog_due_ns_);
  if (poller_.open_now() > 0) earlier(house_due_ns_);
  return until < 0 ? -1 : std::max<std::int64_t>(0, until - now);
}

bool CurlTransport::run_timers(std::int64_t now) {
  bool any = false;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard* const shard = shards_[i].get();
    if (shard == nullptr || shard->due_ns < 0 || shard->due_ns > now) continue;
    shard->due_ns = -1;
    any = true;
    act(*shard, CURL_SOCKET_TIMEOUT, 0);
  }
  return any;
}

void CurlTransport::act(Shard& shard, int fd, int events) {
  int running = 0;
  curl_multi_socket_action(shard.multi, fd, events, &running);
  reap(shard);  // at once: what waits for it must not wait for another event
}

// --- ends

void CurlTransport::reap(Shard& shard) {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(shard.multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer* transfer = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    if (!transfer->cancelled) finish(*transfer, code);  // else its release is already ordered
  }
}

void CurlTransport::finish(Transfer& transfer, int curl_code) {
  ++activity_;
  const std::uint64_t id = transfer.id;
  TransferEnd end = transfer.end(curl_code, monotonic_ns());
  if (end.response_started && !transfer.head_given) {
    // An answer without a body. The sink may cancel here; then release() has been ordered.
    if (!transfer.give_head()) {
      if (transfer.cancelled) return;
      end.error = TransferError::kTooLarge;
      end.complete = false;
    }
  }
  Sink* sink = transfer.sink;
  places_.erase(id);
  transfer.origin.answered(end.http_version);
  if (end.connection_reused) ++stats_.connections_reused;
  if (transfer.resend_stopped) ++stats_.resends_stopped;
  if (end.error == TransferError::kRefusedStream) ++stats_.streams_refused;
  if (end.error == TransferError::kNotRewindable) {
    transfer.origin.watch_until_ns = monotonic_ns() + kWatchedNs;
  }
  ++stats_.transfers_ended;
  release(transfer, end.error == TransferError::kNone);
  sink->on_end(end);
}

// Takes the handle out of its shard. Removing an unfinished transfer closes its HTTP/1.1 connection
// or resets its stream. Only a handle that ended well (`clean`) goes back to the pool: libcurl
// leaves state behind in the others (after a stopped re-send the next transfer would be rewound,
// too).
void CurlTransport::release(Transfer& transfer, bool clean) {
  Origin& origin = transfer.origin;
  Shard& shard = *transfer.shard;
  if (!clean) transfer.give_up();
  if (!clean && resets_are_late() && origin.protocol() != Origin::Protocol::kHttp1 &&
      std::find(resets_.begin(), resets_.end(), &origin) == resets_.end()) {
    resets_.push_back(&origin);
  }
  curl_multi_remove_handle(shard.multi, transfer.easy);
  transfer.detach();
  if (transfer.watched == Watch::kFrames) transfer.watch(Watch::kLines);
  origin.removed(transfer);
  if (--shard.in_flight == 0) shard.idle_since_ns = monotonic_ns();
  const std::size_t index = transfer.running_index;
  std::unique_ptr<Transfer> owned = std::move(running_[index]);
  if (clean) origin.idle.push_back(std::move(owned));
  if (index + 1 < running_.size()) {
    running_[index] = std::move(running_.back());
    running_[index]->running_index = index;
  }
  running_.pop_back();
  --stats_.in_flight;
}

// Has the others on such connections look at them, and so send what waits there. Not those that are
// paused: the library does not work on them.
void CurlTransport::send_resets() {
  for (std::size_t i = 0; i < resets_.size(); ++i) {
    if (resets_[i]->in_flight() == 0) continue;
    for (const int fd : poller_.wanted_of(*resets_[i])) {
      const Poller::Entry& entry = *poller_.entry(fd);
      if (entry.wanted != 0 && entry.shard != nullptr) {
        act(*entry.shard, fd, CURL_CSELECT_IN | CURL_CSELECT_OUT);
      }
    }
  }
  resets_.clear();
}

std::unique_ptr<Transport> make_curl_transport(const CurlTransportOptions& options) {
  auto transport = std::make_unique<CurlTransport>(options);
  if (!transport->open()) return nullptr;
  return transport;
}

std::string curl_version_text() { return curl_version(); }

}  // namespace sluiceway::http
