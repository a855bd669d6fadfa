// Who gets a place: origins, their queues, the multi handles. See curl_transport.h and origin.h.
#include "http/curl_transport_impl.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "base/money.h"

namespace sluiceway::http {
namespace {

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
  shard->due_ns = timeout_ms < 0    ? -1
                  : timeout_ms == 0 ? 0
                                    : monotonic_ns() + timeout_ms * 1'000'000;
  return 0;
}

}  // namespace

// Everything that was asked for since the last time. True when there was something.
bool CurlTransport::run_deferred() {
  if (new_.empty() && cancelled_.empty() && resumed_.empty() && freed_.empty() && resets_.empty()) {
    return false;
  }
  // Cancels first: they free places. Sinks called below may add to any of the lists.
  for (std::size_t i = 0; i < cancelled_.size(); ++i) release(*cancelled_[i], false);
  cancelled_.clear();
  if (!resets_.empty()) send_resets();
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
    // It may deliver what was held back. An error that comes of that is told here and nowhere else
    // until the server sends something more.
    const CURLcode code = curl_easy_pause(transfer.easy, CURLPAUSE_CONT);
    if (code != CURLE_OK && !transfer.cancelled) finish(transfer, code);
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
  waiting.deadline_ns = wait_until_ns(origin, waiting, order.started_ns);
  if (waiting.deadline_ns != 0) pool_deadlines_.insert({waiting.deadline_ns, order.id});
  origin.waiting.push_back(waiting);
  Place& place = places_[order.id];
  place.origin = &origin;
  place.waiting = std::prev(origin.waiting.end());
  ++stats_.queued;
}

// When a transfer in the queue is to be looked at: at its pool time-out, and as long as the
// protocol is not HTTP/1.1 at its connect time-out, too, from `since_ns` on. It may wait for a
// handshake that another one makes, which is to it as its own would be. 0: never.
std::int64_t CurlTransport::wait_until_ns(const Origin& origin, const Waiting& order,
                                          std::int64_t since_ns) const {
  const std::int64_t pool_ns = order.request->pool_timeout_ns;
  const std::int64_t pool = pool_ns > 0 ? order.started_ns + pool_ns : 0;
  if (origin.protocol() == Origin::Protocol::kHttp1) return pool;
  const std::int64_t connect = saturating_add(
      since_ns, std::max<std::int64_t>(order.request->connect_timeout_ns, 1'000'000));
  return pool > 0 ? std::min(pool, connect) : connect;
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
  Shard* shard = shard_at(origin.first_shard + index);
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
    const bool closely = origin.unheard() || order.started_ns < origin.watch_until_ns;
    transfer->watch(origin.protocol() == Origin::Protocol::kHttp1 ? Watch::kOff
                    : closely                                     ? Watch::kFrames
                                                                  : Watch::kLines);
  }
  if (error != TransferError::kNone) {
    places_.erase(order.id);
    return refuse(order, error, std::move(problem));
  }
  Transfer& running = *transfer;
  running.shard = shard;
  running.shard_index = index;
  running.shard_serial = shard->serial;
  running.added_ns = monotonic_ns();
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
  ++stats_.in_flight;
  ++activity_;
  curl_multi_add_handle(shard->multi, running.easy);
}

void CurlTransport::refuse(const Waiting& order, TransferError error, std::string detail) {
  TransferEnd end;
  end.error = error;
  end.detail = std::move(detail);
  end.queued_ns = end.total_ns = monotonic_ns() - order.started_ns;
  ++activity_;
  ++stats_.transfers_ended;
  order.sink->on_end(end);
}

Origin* CurlTransport::origin_of(const Request& request) {
  const bool tls = request.url->tls();
  HttpVersion version = request.version;
  // Without a body there is nothing that libcurl could fail to rewind; on HTTP/2 a refused stream
  // would be sent again. So such a paid request goes over HTTP/1.1 unless told otherwise.
  if (version == HttpVersion::kAuto && (!tls || (request.paid && request.body_bytes() == 0))) {
    version = HttpVersion::kHttp1;
  }
  key_.assign(request.url->origin());
  key_ += static_cast<char>('0' + static_cast<int>(version));
  const auto tls_address = reinterpret_cast<std::uintptr_t>(request.tls.get());
  const bool proxy_tls = request.proxy.rfind("https:", 0) == 0;
  if ((tls || proxy_tls) && tls_address != 0)
    key_.append(reinterpret_cast<const char*>(&tls_address), 8);
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
  int first_shard = 0;
  // libcurl tells HTTP proxies apart by host and port alone: a tunnel that one user was let through
  // would carry another's calls. Each set of credentials has a pool of its own.
  if (request.proxy.find('@') != std::string::npos) {
    const auto next = static_cast<int>(shards_.size());
    const auto [own, added] = proxy_shards_.try_emplace(request.proxy, next);
    if (added) shards_.emplace_back();
    first_shard = own->second;
    limits.shards_max = 1;
  }
  const int home = first_shard > 0 ? 0 : origins_made_++ % std::min(options_.shards_max, 4);
  auto made = std::make_unique<Origin>(limits, protocol, protocol != Origin::Protocol::kUnknown,
                                       home, &freed_);
  made->over_tls = tls;
  made->first_shard = first_shard;
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
  shard->serial = ++shards_made_;
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

}  // namespace sluiceway::http
