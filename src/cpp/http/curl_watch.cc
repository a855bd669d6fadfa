// The library's log lines: see curl_watch.h.
#include "http/curl_watch.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "http/curl_easy.h"
#include "http/origin.h"

namespace sluiceway::http {
namespace {

// No lock, which a fork might catch: two engines that switch at once may lose some lines, which
// leaves doubt where a proof was to be had.
std::atomic<int> tracing{0};
constexpr std::int64_t kNumberMost = 4'294'967'295;  // all of HTTP/2's have 32 bits at most
constexpr std::int64_t kStreamsMost = 1'000'000;     // "no limit" is 4294967295

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// The decimal number that `text` begins with, or -1; at most kNumberMost.
std::int64_t take_number(std::string_view& text) {
  std::int64_t value = -1;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    value = std::min(kNumberMost, std::max<std::int64_t>(value, 0) * 10 + (text.front() - '0'));
    text.remove_prefix(1);
  }
  return value;
}

// The connection is the one that this transfer opened, or the only one of its origin that is waited
// for.
void on_settings(Transfer& transfer, int streams) {
  using State = Poller::Entry::State;
  Poller::Entry* found = nullptr;
  int candidates = 0;
  for (const auto& [fd, until_ns] : transfer.poller.settling) {
    Poller::Entry* entry = transfer.poller.entry(fd);
    if (entry->origin != &transfer.origin || entry->state != State::kConnected) continue;
    found = entry;
    ++candidates;
  }
  if (candidates == 1) {
    settings_read(*found, streams);
  } else if (transfer.opened_socket && !transfer.request_started) {
    transfer.server_streams = streams;
  }
}

// The frame came over the connection of the transfer that reports it.
void on_goaway(Transfer& transfer, std::int64_t last_stream) {
  if (transfer.stream_id == 0) return;  // which connection that is was not told
  auto& goaways = transfer.origin.goaways;
  if (goaways.size() >= kGoawaysMax) goaways.erase(goaways.begin());
  goaways.push_back({transfer.shard_serial, transfer.connection_id, last_stream});
}

}  // namespace

void trace_frames(bool wanted) {
  if (wanted) {
    if (tracing.fetch_add(1) == 0) curl_global_trace("http/2");
  } else if (tracing.fetch_sub(1) == 1) {
    curl_global_trace("-http/2");
  }
}

void forget_traces() { tracing.store(0); }

void settings_read(Poller::Entry& entry, int streams) {
  entry.streams = streams;
  entry.state = Poller::Entry::State::kReady;
  entry.origin->socket_ready(streams);
}

void read_library_line(Transfer& transfer, std::string_view line) {
  if (take_prefix(line, "REFUSED_STREAM, retrying a fresh connect")) {
    transfer.refused_stream = true;
  } else if (take_prefix(line, "ALPN: server accepted ")) {
    const bool h2 = take_prefix(line, "h2");
    transfer.told_h2 = h2;
    transfer.origin.agreed(h2 ? Origin::Protocol::kHttp2 : Origin::Protocol::kHttp1);
  } else if (take_prefix(line, "ALPN: server did not agree")) {
    transfer.told_h2 = false;
    transfer.origin.agreed(Origin::Protocol::kHttp1);
  } else if (take_prefix(line, "received GOAWAY, error=")) {
    const bool read = take_number(line) >= 0 && take_prefix(line, ", last_stream=");
    if (const std::int64_t last = read ? take_number(line) : -1; last >= 0) {
      on_goaway(transfer, last);
    }
  } else if (take_prefix(line, "[HTTP/2] [")) {
    const std::int64_t stream = take_number(line);
    if (stream < 0 || !take_prefix(line, "] ")) return;
    if (stream > 0 && take_prefix(line, "OPENED stream for ")) {
      transfer.stream_id = stream;
    } else if (stream > 0 && take_prefix(line, "REFUSED_STREAM, try again")) {
      transfer.refused_stream = true;
    } else if (stream == 0 && take_prefix(line, "MAX_CONCURRENT_STREAMS: ")) {
      const std::int64_t streams = take_number(line);
      if (streams > 0) on_settings(transfer, static_cast<int>(std::min(streams, kStreamsMost)));
    }
  }
}

}  // namespace sluiceway::http
