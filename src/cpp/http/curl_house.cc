// What time does: settings that are waited for, deadlines in the queue, the watchdog, what nobody
// uses any more. See curl_transport.h.
#include "http/curl_transport_impl.h"
#include "http/curl_watch.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace sluiceway::http {
namespace {

constexpr std::int64_t kWatchdogNs = 1'000'000'000;
constexpr std::int64_t kHousekeepingNs = 1'000'000'000;
constexpr std::int64_t kOriginKeptNs = 60'000'000'000;
constexpr std::size_t kIdleHandlesMax = 256;  // per origin, after housekeeping

}  // namespace

// The first word of an HTTP/2 server are its settings, which libcurl is about to read. Over TLS
// session tickets may come before them, so there the second word counts; and some time in any case,
// since all of it may have been read with the handshake.
void CurlTransport::hear(Poller::Entry& entry) {
  if (entry.settings_told && !entry.heard) return;
  const Origin& origin = *entry.origin;
  if (!entry.heard && origin.over_tls && origin.protocol() != Origin::Protocol::kHttp1) {
    entry.heard = true;
    return;
  }
  entry.state = Poller::Entry::State::kReady;
  entry.origin->socket_ready(0);
}

void CurlTransport::close_inherited() {
  poller_.close_all();
  forget_traces();
}

// Their requests have left, headers and all.
void CurlTransport::unmute() {
  for (const std::uint64_t id : poller_.muted) {
    const auto found = places_.find(id);
    if (found == places_.end() || found->second.running == nullptr) continue;
    Transfer& transfer = *found->second.running;
    if (transfer.watched != Watch::kOff) curl_easy_setopt(transfer.easy, CURLOPT_VERBOSE, 1L);
  }
  poller_.muted.clear();
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

// Lost events show as progress here, and lose no call: a timer of libcurl's that was not announced,
// or a socket that has something for us (poll(2)) of which the epoll set does not tell a moment
// later. Some 0.1 us a connection, once a second.
void CurlTransport::watch(std::int64_t now) {
  if (running_.empty()) {
    watchdog_due_ns_ = now + kWatchdogNs;
    return;
  }
  if (now < watchdog_due_ns_) return;
  watchdog_due_ns_ = now + kWatchdogNs;
  ++stats_.watchdog_runs;
  const std::uint64_t before = activity_;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard* const shard = shards_[i].get();
    if (shard != nullptr && shard->in_flight > 0) act(*shard, CURL_SOCKET_TIMEOUT, 0);
  }
  if (activity_ != before) ++stats_.watchdog_progress;

  std::vector<int> silent = poller_.ready_now();
  if (silent.empty()) return;
  epoll_event events[256];
  const int told = poller_.wait(events, 256, 0);
  for (int i = 0; i < told; ++i) std::erase(silent, Poller::fd_of(events[i]));
  run_events(events, told);
  if (told == 256) return;  // there may be more: the next time tells
  for (const int fd : silent) {
    const Poller::Entry& entry = *poller_.entry(fd);
    if (entry.wanted == 0 || entry.shard == nullptr) continue;
    ++stats_.watchdog_progress;
    poller_.renew(fd);
    act(*entry.shard, fd, 0);  // 0: libcurl looks itself
  }
}

void CurlTransport::expire_pool_waits(std::int64_t now) {
  while (!pool_deadlines_.empty() && pool_deadlines_.begin()->first <= now) {
    const std::uint64_t id = pool_deadlines_.begin()->second;
    pool_deadlines_.erase(pool_deadlines_.begin());
    const auto found = places_.find(id);
    Waiting& waits = *found->second.waiting;
    Origin& origin = *found->second.origin;
    const std::int64_t pool_ns = waits.request->pool_timeout_ns;
    const bool pool = pool_ns > 0 && now >= waits.started_ns + pool_ns;
    if (!pool && origin.stands()) {
      waits.deadline_ns = wait_until_ns(origin, waits, now);
      if (waits.deadline_ns != 0) pool_deadlines_.insert({waits.deadline_ns, id});
      continue;
    }
    const Waiting order = waits;
    origin.waiting.erase(found->second.waiting);
    places_.erase(found);
    --stats_.queued;
    if (pool) {
      refuse(order, TransferError::kPoolTimeout, "no place at the origin in time");
    } else {
      refuse(order, TransferError::kConnect, "no connection to the origin stood in time");
    }
  }
}

// Closes what nobody will use again: libcurl drops old connections only when it looks for one, so a
// shard that has been idle for longer than its connections may be is emptied as a whole.
void CurlTransport::keep_house(std::int64_t now) {
  house_due_ns_ = now + kHousekeepingNs;
  for (std::unique_ptr<Shard>& shard : shards_) {
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
      std::erase(resets_, &origin);
      origins_.erase(it++);
    } else {
      ++it;
    }
  }
}

}  // namespace sluiceway::http
