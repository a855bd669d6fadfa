// The inside of the real transport, for its own files: curl_transport.cc (the caller's side, the
// turn, the ends), curl_admission.cc (who gets a place), curl_house.cc (what time does). See
// curl_transport.h. Engine thread only.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "http/curl_easy.h"
#include "http/curl_transport.h"
#include "http/origin.h"
#include "http/poller.h"

namespace sluiceway::http {

// One multi handle with its timer.
struct Shard {
  Poller* poller = nullptr;
  void* multi = nullptr;
  std::int64_t due_ns = -1;  // the library's timer; -1: none
  int in_flight = 0;
  std::uint64_t serial = 0;  // unlike that of every other shard of this transport
  std::int64_t idle_since_ns = 0;
  std::int64_t retire_ns = 0;  // the longest idle_reuse_max_ns that was asked for
};

// CLOCK_MONOTONIC.
std::int64_t monotonic_ns();

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
  bool open_while_waiting(std::mutex* turn) override {
    turn_ = turn;
    return true;
  }
  bool visit(std::int64_t due_ns) override;
  int fd() const override { return poller_.fd(); }
  void wake() override { poller_.ring(); }
  void close() override;
  void close_inherited() override;
  Sending sending(std::uint64_t id) const override;
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
  std::int64_t wait_until_ns(const Origin& origin, const Waiting& order,
                             std::int64_t since_ns) const;
  void refuse(const Waiting& order, TransferError error, std::string detail);
  void act(Shard& shard, int fd, int events);
  void reap(Shard& shard);
  void finish(Transfer& transfer, int curl_code);
  void release(Transfer& transfer, bool clean);
  void send_resets();
  bool run_timers(std::int64_t now);
  void expire_pool_waits(std::int64_t now);
  void watch(std::int64_t now);
  void keep_house(std::int64_t now);
  std::int64_t wait_ns(std::int64_t timeout_ns, std::int64_t now) const;
  void run_events(const epoll_event* events, int count);
  void hear(Poller::Entry& entry);
  void expire_settling(std::int64_t now);
  void unmute();

  CurlTransportOptions options_;
  Poller poller_;
  void* share_ = nullptr;
  // May grow in a callback of one of them: gone through by number.
  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, int, std::less<>> proxy_shards_;  // by URL with credentials
  absl::flat_hash_map<std::string, std::unique_ptr<Origin>> origins_;
  std::string key_;  // the buffer in which an origin's key is made
  int origins_made_ = 0;
  std::uint64_t shards_made_ = 0;
  absl::flat_hash_map<std::uint64_t, Place> places_;
  std::vector<std::unique_ptr<Transfer>> running_;
  std::vector<Waiting> new_;
  std::vector<Transfer*> cancelled_;
  std::vector<std::uint64_t> resumed_;
  std::vector<Origin*> freed_;   // origins where a place may have become free
  std::vector<Origin*> resets_;  // origins where a RST_STREAM may wait to be sent
  std::set<std::pair<std::int64_t, std::uint64_t>> pool_deadlines_;
  std::mutex* turn_ = nullptr;       // let go while poll() waits
  std::int64_t waits_until_ns_ = 0;  // while it does; below zero: for an event only
  std::int64_t watchdog_due_ns_ = 0, house_due_ns_ = 0;
  std::uint64_t activity_ = 0;  // sink calls and finished transfers: something happened
  TransportNumbers<Count> stats_;
};

}  // namespace sluiceway::http
