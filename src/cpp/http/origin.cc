// Places and protocols of an origin: see origin.h.
#include "http/origin.h"

#include <bit>

namespace sluiceway::http {

bool Origin::may_start() const {
  if (protocol_ == Protocol::kHttp1) return in_flight_ < limits_.connections_max;
  if (in_flight_ == 0) return true;
  if (protocol_ == Protocol::kUnknown) {
    return opening_ == 0 && (settling_ == 0 || in_flight_ < 2);
  }
  if (in_flight_ < places()) return true;
  return opening_ == 0 && settling_ == 0 && sockets_ < limits_.h2_connections_max;
}

int Origin::places() const {
  if (ready_ == 0) return 0;
  const int all = known_ + unknown_ * streams_;
  return all - all * drained_ / ready_;
}

int Origin::pick_shard() const {
  if (protocol_ != Protocol::kHttp1) return home_;
  const std::uint64_t all =
      limits_.shards_max >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << limits_.shards_max) - 1;
  if (const std::uint64_t idle_shards = idle_mask_ & all; idle_shards != 0) {
    return std::countr_zero(idle_shards);
  }
  if (const std::uint64_t roomy = room_mask_ & all; roomy != 0) return std::countr_zero(roomy);
  int best = 0;
  for (int i = 1; i < limits_.shards_max; ++i) {
    if (uses_[i].in_flight < uses_[best].in_flight) best = i;
  }
  return best;
}

void Origin::added(Transfer& transfer, int shard) {
  transfer.expects_connection =
      protocol_ == Protocol::kUnknown || (protocol_ == Protocol::kHttp2 && in_flight_ >= places());
  if (transfer.expects_connection) ++opening_;
  ++in_flight_;
  ++uses_[shard].in_flight;
  update(shard);
}

void Origin::connected(Transfer& transfer) {
  if (transfer.expects_connection) {
    transfer.expects_connection = false;
    --opening_;
    if (protocol_ == Protocol::kHttp2 && ready_ > 0 && !transfer.opened_socket) {
      streams_ = std::min(streams_ * 2, limits_.streams_max);
    }
  }
  // Another transfer holds the only connection, and this one shares it: streams.
  if (protocol_ == Protocol::kUnknown && !transfer.opened_socket && in_flight_ >= 2) {
    protocol_ = Protocol::kHttp2;
  }
  list_if_waiting();
}

void Origin::list_if_waiting() {
  if (waiting.empty() || listed) return;
  listed = true;
  freed_->push_back(this);
}

void Origin::removed(Transfer& transfer) {
  if (transfer.expects_connection) {
    transfer.expects_connection = false;
    --opening_;
  }
  --in_flight_;
  --uses_[transfer.shard_index].in_flight;
  update(transfer.shard_index);
  list_if_waiting();
}

void Origin::answered(int http_version) {
  if (settled_ || http_version == 0) return;
  settled_ = true;
  protocol_ = http_version >= 20 ? Protocol::kHttp2 : Protocol::kHttp1;
  list_if_waiting();
}

void Origin::socket_opened(Transfer& opener, int shard) {
  opener.opened_socket = true;
  ++sockets_;
  ++uses_[shard].sockets;
  update(shard);
  // There should have been room: the server takes fewer streams, or a connection takes no more.
  if (protocol_ == Protocol::kHttp2 && ready_ > 0 && !opener.expects_connection) {
    streams_ = std::max(streams_ / 2, std::min(kStreamsFirst, limits_.streams_max));
    drained_ = std::min(drained_ + 1, ready_);
  }
  // A connection stands and is in use, and this transfer could not share it.
  if (protocol_ == Protocol::kUnknown && ready_ + settling_ >= 1 && in_flight_ >= 2) {
    protocol_ = Protocol::kHttp1;
    list_if_waiting();
  }
}

void Origin::agreed(Protocol protocol) {
  if (settled_ || protocol_ == protocol) return;
  protocol_ = protocol;
  list_if_waiting();
}

void Origin::socket_ready(int streams) {
  --settling_;
  ++ready_;
  known_ += std::min(streams, limits_.streams_max);
  if (streams == 0) ++unknown_;
  list_if_waiting();
}

void Origin::socket_closed(int shard, const Poller::Entry& entry) {
  --sockets_;
  if (entry.state == Poller::Entry::State::kConnected) --settling_;
  if (entry.state == Poller::Entry::State::kReady) {
    --ready_;
    known_ -= std::min(entry.streams, limits_.streams_max);
    if (entry.streams == 0) --unknown_;
    if (drained_ > 0) --drained_;
  }
  --uses_[shard].sockets;
  update(shard);
  list_if_waiting();
}

void Origin::update(int shard) {
  const std::uint64_t bit = std::uint64_t{1} << shard;
  const Use& use = uses_[shard];
  idle_mask_ = use.sockets > use.in_flight ? idle_mask_ | bit : idle_mask_ & ~bit;
  room_mask_ = use.in_flight < limits_.shard_connections ? room_mask_ | bit : room_mask_ & ~bit;
}

}  // namespace sluiceway::http
