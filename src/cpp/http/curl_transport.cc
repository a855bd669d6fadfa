// The real transport: see curl_transport.h. Source: curl_multi_socket_action(3), RFC 9112, RFC
// 9113.
#include "http/curl_transport.h"

#include <curl/curl.h>
#include <time.h>

#include <algorithm>
#include <list>
#include <set>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/text.h"
#include "http/curl_easy.h"
#include "http/curl_handles.h"
#include "http/origin.h"
#include "http/poller.h"

namespace sluiceway::http {

// One multi handle with its timer.
struct Shard {
  Poller* poller = nullptr;
  CURLM* multi = nullptr;
  std::int64_t due_ns = -1;  // the library's timer; -1: none
  int in_flight = 0;
  std::int64_t idle_since_ns = 0;
  std::int64_t retire_ns = 0;  // the longest idle_reuse_max_ns that was asked for
};

namespace {

constexpr std::int64_t kWatchdogNs = 1'000'000'000;
constexpr std::int64_t kHousekeepingNs = 1'000'000'000;
constexpr std::int64_t kOriginKeptNs = 60'000'000'000;
constexpr std::size_t kIdleHandlesMax = 256;  // per origin, after housekeeping

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

int on_socket(CURL*, curl_socket_t fd, int what, void* user, void*) {
  auto* shard = static_cast<Shard*>(user);
  std::uint8_t events = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= Poller::kRead;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= Poller::kWrite;
  shard->poller->want(fd, events, shard);
  return 0;
}

int on_timer(CURLM*, long timeout_ms, void* user) {
  auto* shard = static_cast<Shard*>(user);
  shard->due_ns = timeout_ms < 0 ? -1 : timeout_ms == 0 ? 0 : now_ns() + timeout_ms * 1'000'000;
  return 0;
}

class CurlTransport final : public Transport {
 public:
  explicit CurlTransport(const CurlTransportOptions& options) : options_(options) {
    options_.shards_max = std::clamp(options_.shards_max, 1, kShardsMax);
    shards_.resize(static_cast<std::size_t>(options_.shards_max));
  }
  ~CurlTransport() override;
  bool open();

  void start(std::uint64_t id, Request* request, Sink* sink) override;
  bool cancel(std::uint64_t id) override;
  void pause(std::uint64_t id) override;
  void resume(std::uint64_t id) override;
  void poll(std::int64_t timeout_ns) override;
  void wake() override { poller_.ring(); }
  void close_inherited() override { poller_.close_all(); }
  TransportStats stats() const override;

 private:
  // Where a transfer is: new (index into new_), waiting at its origin, or on the wire.
  struct Place {
    Transfer* running = nullptr;
    Origin* origin = nullptr;
    std::list<Waiting>::iterator waiting;
    std::size_t new_index = 0;
  };

  Origin* origin_of(const Request& request);
  Shard* shard_at(int index);
  bool run_deferred();
  void admit(const Waiting& order);
  void run_waiting(Origin& origin);
  void launch(Origin& origin, const Waiting& order);
  void refuse(const Waiting& order, TransferError error, std::string detail);
  void act(Shard& shard, int fd, int events);
  void reap(Shard& shard);
  void finish(Transfer& transfer, int curl_code);
  void release(Transfer& transfer, bool clean);
  bool run_timers(std::int64_t now);
  void expire_pool_waits(std::int64_t now);
  void watch(std::int64_t now);
  void keep_house(std::int64_t now);
  std::int64_t wait_ns(std::int64_t timeout_ns, std::int64_t now) const;
  void run_events(const epoll_event* events, int count);
  void hear(Poller::Entry& entry);
  void expire_settling(std::int64_t now);

  CurlTransportOptions options_;
  Poller poller_;
  CURLSH* share_ = nullptr;
  std::vector<std::unique_ptr<Shard>> shards_;
  absl::flat_hash_map<std::string, std::unique_ptr<Origin>> origins_;
  std::string key_;  // the buffer in which an origin's key is made
  int origins_made_ = 0;
  absl::flat_hash_map<std::uint64_t, Place> places_;
  std::vector<std::unique_ptr<Transfer>> running_;
  std::vector<Waiting> new_;
  std::vector<Transfer*> cancelled_;
  std::vector<std::uint64_t> resumed_;
  std::vector<Origin*> freed_;  // origins where a place may have become free
  std::set<std::pair<std::int64_t, std::uint64_t>> pool_deadlines_;
  std::int64_t watchdog_due_ns_ = 0, house_due_ns_ = 0;
  std::uint64_t activity_ = 0;  // sink calls and finished transfers: something happened
  TransportStats stats_;
};

bool CurlTransport::open() {
  if (!curl_ready() || !poller_.open()) return false;
  share_ =
      curl_share_init();  // name look-ups and TLS sessions serve all shards; one thread, no locks
  if (share_ == nullptr) return false;
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return true;
}

CurlTransport::~CurlTransport() {
  for (auto& transfer : running_) {
    transfer->detach();
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
  }
  running_.clear();
  for (auto& [key, origin] : origins_) origin->idle.clear();
  for (auto& shard : shards_) {
    if (shard != nullptr) curl_multi_cleanup(shard->multi);
  }
  if (share_ != nullptr) curl_share_cleanup(share_);
}

// --- the caller's side
// ----------------------------------------------------------------------------

// Nothing of libcurl is called here: these may run inside its callbacks.
void CurlTransport::start(std::uint64_t id, Request* request, Sink* sink) {
  Place place;
  place.new_index = new_.size();
  places_[id] = place;
  new_.push_back({id, request, sink, nullptr, now_ns(), 0});
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

TransportStats CurlTransport::stats() const {
  TransportStats out = stats_;
  out.connections_opened = poller_.opened_count();
  out.connections_open = poller_.open_now();
  out.in_flight = running_.size();
  out.epoll_ctl_calls = poller_.ctl_calls();
  out.epoll_wait_calls = poller_.wait_calls();
  return out;
}

// --- the turn
// -------------------------------------------------------------------------------------

void CurlTransport::poll(std::int64_t timeout_ns) {
  const std::uint64_t before = activity_;
  std::int64_t now = now_ns();
  run_deferred();
  run_timers(now);
  // What was started or finished just now leads to more at once; bounded, for a loopback server can
  // be quick enough to go on like this.
  for (int i = 0; i < 4 && run_deferred(); ++i) run_timers(now = now_ns());
  if (activity_ != before) timeout_ns = 0;

  epoll_event events[256];
  const int ready = poller_.wait(events, 256, wait_ns(timeout_ns, now));
  run_events(events, ready);
  now = now_ns();
  run_timers(now);
  expire_pool_waits(now);
  expire_settling(now);
  watch(now);
  if (now >= house_due_ns_) keep_house(now);
  // The requests that sinks have just started leave in this turn.
  for (int i = 0; i < 4 && run_deferred(); ++i) run_timers(now = now_ns());
}

void CurlTransport::run_events(const epoll_event* events, int count) {
  for (int i = 0; i < count; ++i) {
    if (poller_.is_bell(events[i])) {
      poller_.clear_bell();
      continue;
    }
    const int fd = events[i].data.fd;
    Poller::Entry* entry = poller_.entry(fd);
    int mask = 0;
    std::uint8_t seen = 0;
    if (events[i].events & EPOLLIN) mask |= CURL_CSELECT_IN, seen |= Poller::kRead;
    if (events[i].events & EPOLLOUT) mask |= CURL_CSELECT_OUT, seen |= Poller::kWrite;
    const bool broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
    if (broken) mask |= CURL_CSELECT_ERR;
    if ((seen & ~entry->wanted) != 0 || (broken && entry->wanted == 0)) poller_.silence(fd);
    if (entry->state == Poller::Entry::State::kConnected && (seen & Poller::kRead) != 0) {
      hear(*entry);
    }
    if (entry->wanted != 0 && entry->shard != nullptr) act(*entry->shard, fd, mask);
  }
}

// The first word of an HTTP/2 server are its settings, which libcurl is about to read. Over TLS
// session tickets may come before them, so there the second word counts; and some time in any case,
// since all of it may have been read with the handshake.
void CurlTransport::hear(Poller::Entry& entry) {
  const Origin& origin = *entry.origin;
  if (!entry.heard && origin.over_tls && origin.protocol() != Origin::Protocol::kHttp1) {
    entry.heard = true;
    return;
  }
  entry.state = Poller::Entry::State::kReady;
  entry.origin->socket_ready();
}

void CurlTransport::expire_settling(std::int64_t now) {
  while (!poller_.settling.empty() && poller_.settling.front().second <= now) {
    const int fd = poller_.settling.front().first;
    poller_.settling.pop_front();
    // It may be closed by now, or another connection may have the number: that one is only early.
    Poller::Entry& entry = *poller_.entry(fd);
    if (entry.state != Poller::Entry::State::kConnected) continue;
    entry.heard = true;
    hear(entry);
  }
}

std::int64_t CurlTransport::wait_ns(std::int64_t timeout_ns, std::int64_t now) const {
  if (!new_.empty() || !cancelled_.empty() || !resumed_.empty() || !freed_.empty()) return 0;
  std::int64_t until = timeout_ns < 0 ? -1 : now + timeout_ns;
  const auto earlier = [&until](std::int64_t due) {
    if (until < 0 || due < until) until = due;
  };
  for (const auto& shard : shards_) {
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
  for (const auto& shard : shards_) {
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

// A lost event of libcurl's would show as progress here: nothing should be due that its timer did
// not announce.
void CurlTransport::watch(std::int64_t now) {
  if (running_.empty()) {
    watchdog_due_ns_ = now + kWatchdogNs;
    return;
  }
  if (now < watchdog_due_ns_) return;
  watchdog_due_ns_ = now + kWatchdogNs;
  ++stats_.watchdog_runs;
  const std::uint64_t before = activity_;
  for (const auto& shard : shards_) {
    if (shard != nullptr && shard->in_flight > 0) act(*shard, CURL_SOCKET_TIMEOUT, 0);
  }
  if (activity_ != before) ++stats_.watchdog_progress;
}

void CurlTransport::expire_pool_waits(std::int64_t now) {
  while (!pool_deadlines_.empty() && pool_deadlines_.begin()->first <= now) {
    const std::uint64_t id = pool_deadlines_.begin()->second;
    pool_deadlines_.erase(pool_deadlines_.begin());
    const auto found = places_.find(id);
    const Waiting order = *found->second.waiting;
    found->second.origin->waiting.erase(found->second.waiting);
    places_.erase(found);
    --stats_.queued;
    refuse(order, TransferError::kPoolTimeout, "no place at the origin in time");
  }
}

// --- admission
// ------------------------------------------------------------------------------------

// Everything that was asked for since the last time. True when there was something.
bool CurlTransport::run_deferred() {
  if (new_.empty() && cancelled_.empty() && resumed_.empty() && freed_.empty()) return false;
  // Cancels first: they free places. Sinks called below may add to any of the lists.
  for (std::size_t i = 0; i < cancelled_.size(); ++i) release(*cancelled_[i], false);
  cancelled_.clear();
  const auto resumed = std::exchange(resumed_, {});
  for (const std::uint64_t id : resumed) {
    const auto found = places_.find(id);
    if (found == places_.end() || found->second.running == nullptr) continue;
    Transfer& transfer = *found->second.running;
    transfer.resume_listed = false;
    if (transfer.pause_wanted || !transfer.paused) continue;
    transfer.paused = false;
    ++activity_;
    Shard& shard = *transfer.shard;
    curl_easy_pause(transfer.easy, CURLPAUSE_CONT);  // may deliver what was held back
    act(shard, CURL_SOCKET_TIMEOUT, 0);
  }
  const auto freed = std::exchange(freed_, {});
  for (Origin* origin : freed) {
    origin->listed = false;
    run_waiting(*origin);
  }
  for (std::size_t i = 0; i < new_.size(); ++i) {
    if (new_[i].sink != nullptr) admit(Waiting(new_[i]));
  }
  new_.clear();
  return true;
}

void CurlTransport::admit(const Waiting& order) {
  if (order.request->url == nullptr) {
    places_.erase(order.id);
    return refuse(order, TransferError::kInvalidRequest, "the request has no URL");
  }
  Origin& origin = *origin_of(*order.request);
  if (origin.waiting.empty() && origin.may_start()) return launch(origin, order);
  Waiting waiting = order;
  waiting.origin = &origin;
  if (order.request->pool_timeout_ns > 0) {
    waiting.deadline_ns = order.started_ns + order.request->pool_timeout_ns;
    pool_deadlines_.insert({waiting.deadline_ns, order.id});
  }
  origin.waiting.push_back(waiting);
  Place& place = places_[order.id];
  place.origin = &origin;
  place.waiting = std::prev(origin.waiting.end());
  ++stats_.queued;
}

void CurlTransport::run_waiting(Origin& origin) {
  while (!origin.waiting.empty() && origin.may_start()) {
    const Waiting order = origin.waiting.front();
    origin.waiting.pop_front();
    --stats_.queued;
    if (order.deadline_ns != 0) pool_deadlines_.erase({order.deadline_ns, order.id});
    launch(origin, order);
  }
}

void CurlTransport::launch(Origin& origin, const Waiting& order) {
  const int index = origin.pick_shard();
  Shard* shard = shard_at(index);
  std::unique_ptr<Transfer> transfer;
  if (!origin.idle.empty()) {
    transfer = std::move(origin.idle.back());
    origin.idle.pop_back();
  } else {
    transfer = std::make_unique<Transfer>(poller_, origin, share_);
  }
  TransferError error = TransferError::kInternal;
  std::string problem = "out of memory";
  if (shard != nullptr && transfer->easy != nullptr) {
    error = transfer->prepare(order.id, order.request, order.sink, order.started_ns, &problem);
  }
  if (error != TransferError::kNone) {
    places_.erase(order.id);
    return refuse(order, error, std::move(problem));
  }
  Transfer& running = *transfer;
  running.shard = shard;
  running.shard_index = index;
  running.added_ns = now_ns();
  Place& place = places_[order.id];
  place.running = &running;
  place.origin = &origin;
  running.running_index = running_.size();
  running_.push_back(std::move(transfer));
  origin.added(running, index);
  origin.last_used_ns = running.added_ns;
  ++shard->in_flight;
  shard->retire_ns = std::max(shard->retire_ns, order.request->idle_reuse_max_ns);
  ++stats_.transfers_started;
  ++activity_;
  curl_multi_add_handle(shard->multi, running.easy);
}

void CurlTransport::refuse(const Waiting& order, TransferError error, std::string detail) {
  TransferEnd end;
  end.error = error;
  end.detail = std::move(detail);
  end.queued_ns = end.total_ns = now_ns() - order.started_ns;
  ++activity_;
  ++stats_.transfers_ended;
  order.sink->on_end(end);
}

Origin* CurlTransport::origin_of(const Request& request) {
  const bool tls = request.url->tls();
  HttpVersion version = request.version;
  // Without a body there is nothing that libcurl could fail to rewind; on HTTP/2 a refused stream
  // would be sent again. So such a paid request goes over HTTP/1.1 unless told otherwise.
  if (version == HttpVersion::kAuto && (!tls || (request.paid && request.body.empty()))) {
    version = HttpVersion::kHttp1;
  }
  key_.assign(request.url->origin());
  key_ += static_cast<char>('0' + static_cast<int>(version));
  const auto tls_address = reinterpret_cast<std::uintptr_t>(request.tls.get());
  if (tls && tls_address != 0) key_.append(reinterpret_cast<const char*>(&tls_address), 8);
  if (!request.proxy.empty()) (key_ += '\n') += request.proxy;
  if (!request.unix_socket.empty()) (key_ += '\t') += request.unix_socket;
  const auto found = origins_.find(key_);
  if (found != origins_.end()) return found->second.get();

  Origin::Limits limits{options_.connections_per_origin_max, options_.h2_connections_per_origin_max,
                        options_.streams_per_connection_max, options_.shards_max,
                        options_.shard_connections};
  // Each shard reads the trust store for itself (some 10 ms), so TLS origins fill them further.
  if (tls) limits.shard_connections *= 4;
  auto protocol = Origin::Protocol::kUnknown;
  if (version == HttpVersion::kHttp1) protocol = Origin::Protocol::kHttp1;
  if (version == HttpVersion::kHttp2 && !tls) protocol = Origin::Protocol::kHttp2;
  const int home = origins_made_++ % std::min(options_.shards_max, 4);
  auto made = std::make_unique<Origin>(limits, protocol, protocol != Origin::Protocol::kUnknown,
                                       home, &freed_);
  made->over_tls = tls;
  made->tls = request.tls;  // its address is in the key
  return origins_.emplace(key_, std::move(made)).first->second.get();
}

Shard* CurlTransport::shard_at(int index) {
  std::unique_ptr<Shard>& shard = shards_[static_cast<std::size_t>(index)];
  if (shard != nullptr) return shard.get();
  CURLM* multi = curl_multi_init();
  if (multi == nullptr) return nullptr;
  shard = std::make_unique<Shard>();
  shard->poller = &poller_;
  shard->multi = multi;
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, shard.get());
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, shard.get());
  // Pinned: the default follows the number of transfers and drops warm connections when it falls.
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 4096L);
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
                    static_cast<long>(options_.streams_per_connection_max));
  return shard.get();
}

// --- ends
// -----------------------------------------------------------------------------------------

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
  TransferEnd end = transfer.end(curl_code, now_ns());
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
  curl_multi_remove_handle(shard.multi, transfer.easy);
  transfer.detach();
  origin.removed(transfer);
  if (--shard.in_flight == 0) shard.idle_since_ns = now_ns();
  const std::size_t index = transfer.running_index;
  std::unique_ptr<Transfer> owned = std::move(running_[index]);
  if (clean) origin.idle.push_back(std::move(owned));
  if (index + 1 < running_.size()) {
    running_[index] = std::move(running_.back());
    running_[index]->running_index = index;
  }
  running_.pop_back();
}

// Closes what nobody will use again: libcurl drops old connections only when it looks for one, so a
// shard that has been idle for longer than its connections may be is emptied as a whole.
void CurlTransport::keep_house(std::int64_t now) {
  house_due_ns_ = now + kHousekeepingNs;
  for (auto& shard : shards_) {
    if (shard == nullptr || shard->in_flight > 0) continue;
    if (now - shard->idle_since_ns < shard->retire_ns) continue;
    curl_multi_cleanup(shard->multi);
    shard.reset();
  }
  for (auto it = origins_.begin(); it != origins_.end();) {
    Origin& origin = *it->second;
    if (origin.idle.size() > kIdleHandlesMax) origin.idle.resize(kIdleHandlesMax);
    const bool old = origin.unused() && !origin.listed && now - origin.last_used_ns > kOriginKeptNs;
    if (old) {
      origins_.erase(it++);
    } else {
      ++it;
    }
  }
}

}  // namespace

std::unique_ptr<Transport> make_curl_transport(const CurlTransportOptions& options) {
  auto transport = std::make_unique<CurlTransport>(options);
  if (!transport->open()) return nullptr;
  return transport;
}

std::string curl_version_text() { return curl_version(); }

}  // namespace sluiceway::http
