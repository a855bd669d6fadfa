// One origin: its places, its queue, what its servers speak, its idle handles.
//
// The admission rule. HTTP/1.1: a place is a connection, at most connections_max. HTTP/2: a place
// is a stream on a connection that stands; when all are taken one transfer at a time may open
// another connection, so that a burst to a fresh origin makes one handshake and not a hundred. A
// fresh connection carries few streams until the server was heard from: its settings come first
// (RFC 9113, section 3.4) and say how many it takes; what is sent beyond them is refused, and a
// paid request that was refused so is in doubt. The number of streams begins at ten and doubles
// each time that a transfer, allowed to open a connection, found a place on one that stands: so
// a crowd never falls on a new connection before its settings are read. That is the rule where the
// library does not tell what it has read (see curl_watch.h); where it does, a connection has
// exactly the places that its server gives it. A connection that may take no more (GOAWAY) shows
// only when a transfer has to open another instead: then that much less is counted on.
//
// Over TLS the protocol is unknown at first and is learned without waiting for an answer: a second
// transfer is let in when the first one's connection stands, and either shares it (HTTP/2) or opens
// a socket (HTTP/1.1). What an answer says is final.
//
// HTTP/1.1 transfers are spread over shards: first one with an idle connection, then the first with
// room, then the least loaded. O(1) but for the last, O(shards). Engine thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "http/curl_easy.h"

namespace sluiceway::http {

constexpr int kShardsMax = 64;
constexpr std::size_t kGoawaysMax = 16;
constexpr int kStreamsFirst = 10;  // on a connection, before more were seen to be taken

// A transfer without a place yet.
struct Waiting {
  std::uint64_t id = 0;
  Request* request = nullptr;
  Sink* sink = nullptr;
  Origin* origin = nullptr;
  std::int64_t started_ns = 0;
  std::int64_t deadline_ns =
      0;  // 0: none; else it stands in the transport's list of pool deadlines
};

class Origin {
 public:
  enum class Protocol : std::uint8_t { kUnknown, kHttp1, kHttp2 };
  struct Limits {
    int connections_max, h2_connections_max, streams_max, shards_max, shard_connections;
  };

  // `freed` is the transport's list of origins whose queue should be looked at; it outlives this.
  Origin(const Limits& limits, Protocol protocol, bool settled, int home_shard,
         std::vector<Origin*>* freed)
      : limits_(limits),
        protocol_(protocol),
        settled_(settled),
        home_(home_shard),
        freed_(freed),
        streams_(std::min(kStreamsFirst, limits.streams_max)) {}

  bool may_start() const;
  int pick_shard() const;
  Protocol protocol() const { return protocol_; }
  bool settled() const { return settled_; }

  // A transfer's life: handed to a shard, its connection stands, it is over.
  void added(Transfer& transfer, int shard);
  void connected(Transfer& transfer);
  void removed(Transfer& transfer);
  void answered(int http_version);  // 10, 11, 20
  // A connection's life: made, its handshake done, first heard from, closed.
  void socket_opened(Transfer& opener, int shard);
  void socket_connected() { ++settling_; }
  void socket_ready(int streams);  // that its server takes; 0: not known
  void socket_closed(int shard, const Poller::Entry& entry);
  // What the handshake has agreed on, before any answer.
  void agreed(Protocol protocol);
  // Who waits here waits for a place, and not for the first connection.
  bool stands() const { return protocol_ == Protocol::kHttp1 || ready_ + settling_ > 0; }
  // A transfer that starts now may meet a connection whose limits are unknown.
  bool unheard() const { return ready_ == 0 || settling_ > 0 || opening_ > 0; }

  int in_flight() const { return in_flight_; }
  int sockets() const { return sockets_; }
  bool unused() const { return in_flight_ == 0 && sockets_ == 0 && waiting.empty(); }

  std::list<Waiting> waiting;                   // in the order of start()
  std::vector<std::unique_ptr<Transfer>> idle;  // handles set up for this origin
  std::int64_t last_used_ns = 0;
  // Connections that said goodbye, and the last stream that they process; the newest kGoawaysMax.
  struct Goaway {
    std::uint64_t shard_serial;
    std::int64_t connection_id, last_stream;
  };
  std::vector<Goaway> goaways;
  std::int64_t watch_until_ns = 0;  // a connection broke: look closely, see curl_watch.h
  std::int64_t idle_closed_ns = 0;  // when an idle one was last closed by its server; 0: never
  int first_shard = 0;              // of those it may use
  bool over_tls = false;
  bool listed = false;                   // in the transport's list of origins to look at
  std::shared_ptr<const TlsConfig> tls;  // kept, since its address is part of the key

 private:
  struct Use {
    int sockets = 0, in_flight = 0;
  };
  void update(int shard);
  int places() const;
  void list_if_waiting();

  Limits limits_;
  Protocol protocol_;
  bool settled_;  // the protocol is fixed by the request or was said by an answer
  int home_;
  std::vector<Origin*>* freed_;
  int in_flight_ = 0, sockets_ = 0;
  int settling_ = 0;  // connections that stand, the server's settings not yet read
  int ready_ = 0;     // connections that stand and were heard from
  int known_ = 0;     // the places of those whose server's limit is known
  int unknown_ = 0;   // how many the others are
  int drained_ = 0;   // ready connections that seem to take no more
  int streams_;       // per connection, as far as it was seen to be taken
  int opening_ = 0;   // transfers in flight that are expected to open a connection
  Use uses_[kShardsMax];
  std::uint64_t idle_mask_ = 0;                  // shards with more sockets than transfers
  std::uint64_t room_mask_ = ~std::uint64_t{0};  // shards below shard_connections
};

}  // namespace sluiceway::http
