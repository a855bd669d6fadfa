// Places, shards and the learning of the protocol, without a network.
#include "http/origin.h"

#include <gtest/gtest.h>

#include <deque>

#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

Poller::Entry entry_in(Poller::Entry::State state, int streams = 0) {
  Poller::Entry entry;
  entry.state = state;
  entry.streams = streams;
  return entry;
}

using State = Poller::Entry::State;

struct Bench {
  explicit Bench(Origin::Protocol protocol, Origin::Limits limits = {4, 2, 3, 8, 2})
      : origin(limits, protocol, protocol != Origin::Protocol::kUnknown, 5, &freed) {}
  Transfer& add() {
    const int shard = origin.pick_shard();
    Transfer& transfer = transfers.emplace_back(poller, origin, nullptr);
    transfer.shard_index = shard;
    origin.added(transfer, shard);
    return transfer;
  }
  // The connection of `transfer`: made and standing; and heard from.
  void connect(Transfer& transfer) {
    origin.socket_opened(transfer, transfer.shard_index);
    origin.socket_connected();
    origin.connected(transfer);
  }
  void hear(Transfer& transfer) {
    connect(transfer);
    origin.socket_ready(0);
  }
  std::vector<Origin*> freed;
  Poller poller;
  Origin origin;
  std::deque<Transfer> transfers;
};

TEST(Origin, Http1SpreadsOverShardsAndPrefersIdleConnections) {
  Bench bench(Origin::Protocol::kHttp1);
  std::vector<int> shards;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(bench.origin.may_start());
    shards.push_back(bench.add().shard_index);
    bench.hear(bench.transfers.back());
  }
  EXPECT_EQ(shards, (std::vector<int>{0, 0, 1, 1}));
  EXPECT_FALSE(bench.origin.may_start());
  bench.origin.removed(bench.transfers[2]);
  EXPECT_TRUE(bench.origin.may_start());
  EXPECT_EQ(bench.origin.pick_shard(), 1);  // where a connection is idle
  bench.origin.socket_closed(1, entry_in(State::kReady));
  EXPECT_EQ(bench.origin.pick_shard(), 1);  // where there is room
}

TEST(Origin, Http2OpensOneConnectionAtATime) {
  Bench bench(Origin::Protocol::kHttp2);  // 2 connections of 3 streams
  Transfer& first = bench.add();
  EXPECT_EQ(first.shard_index, 5);
  EXPECT_FALSE(bench.origin.may_start());  // its handshake is under way
  bench.connect(first);
  EXPECT_FALSE(bench.origin.may_start());  // the server's settings are not known
  bench.origin.socket_ready(0);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(bench.origin.may_start());
    bench.origin.connected(bench.add());
  }
  ASSERT_TRUE(bench.origin.may_start());  // all streams are taken: one may open another
  Transfer& fourth = bench.add();
  EXPECT_TRUE(fourth.expects_connection);
  EXPECT_FALSE(bench.origin.may_start());
  bench.hear(fourth);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(bench.origin.may_start());
    bench.origin.connected(bench.add());
  }
  EXPECT_FALSE(bench.origin.may_start());  // six streams on two connections
  bench.origin.removed(fourth);
  EXPECT_TRUE(bench.origin.may_start());
}

TEST(Origin, AFailedHandshakeLetsTheNextOneTry) {
  Bench bench(Origin::Protocol::kHttp2);
  Transfer& first = bench.add();
  bench.origin.socket_opened(first, 5);
  EXPECT_FALSE(bench.origin.may_start());
  bench.origin.socket_closed(5, entry_in(State::kConnecting));
  bench.origin.removed(first);
  EXPECT_TRUE(bench.origin.may_start());
  EXPECT_TRUE(bench.origin.unused());
}

TEST(Origin, TwoOnOneConnectionMeansHttp2) {
  Bench bench(Origin::Protocol::kUnknown);
  Transfer& first = bench.add();
  EXPECT_FALSE(bench.origin.may_start());
  bench.connect(first);
  ASSERT_TRUE(bench.origin.may_start());
  bench.origin.connected(bench.add());  // no socket was opened for it
  EXPECT_EQ(bench.origin.protocol(), Origin::Protocol::kHttp2);
  EXPECT_FALSE(bench.origin.may_start());
  bench.origin.socket_ready(0);
  EXPECT_TRUE(bench.origin.may_start());
}

TEST(Origin, ASecondSocketMeansHttp1AndAnAnswerIsFinal) {
  Bench bench(Origin::Protocol::kUnknown);
  bench.connect(bench.add());
  Transfer& second = bench.add();
  bench.origin.socket_opened(second, 5);
  EXPECT_EQ(bench.origin.protocol(), Origin::Protocol::kHttp1);
  EXPECT_FALSE(bench.origin.settled());
  EXPECT_TRUE(bench.origin.may_start());  // without waiting for its handshake
  bench.origin.answered(20);
  EXPECT_EQ(bench.origin.protocol(), Origin::Protocol::kHttp2);
  bench.origin.answered(11);  // a first answer settles it
  EXPECT_EQ(bench.origin.protocol(), Origin::Protocol::kHttp2);
}

// Two connections of three streams; one stops taking any (GOAWAY), which shows when a transfer that
// should have found a place has to open a connection.
TEST(Origin, AConnectionThatTakesNoMoreIsNotCountedOn) {
  Bench bench(Origin::Protocol::kHttp2, {4, 3, 3, 8, 2});
  Transfer& first = bench.add();
  bench.connect(first);
  bench.origin.socket_ready(3);
  Transfer& second = bench.add();
  EXPECT_FALSE(second.expects_connection);
  bench.connect(second);  // a connection of its own, against all expectation
  bench.origin.socket_ready(3);
  Transfer& third = bench.add();  // one connection of three is what is left
  EXPECT_FALSE(third.expects_connection);
  EXPECT_TRUE(bench.origin.may_start());
  Transfer& fourth = bench.add();
  EXPECT_TRUE(fourth.expects_connection);
  bench.origin.removed(fourth);
  bench.origin.socket_closed(5, entry_in(State::kReady, 3));  // the old one is gone
  Transfer& fifth = bench.add();
  EXPECT_TRUE(fifth.expects_connection);  // three of three are taken
}

TEST(Origin, Http2ConnectionsHaveAMaximum) {
  Bench bench(Origin::Protocol::kHttp2, {4, 2, 1, 8, 2});
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(bench.origin.may_start());
    bench.connect(bench.add());
    bench.origin.socket_ready(100);  // more than we ever put on one
  }
  EXPECT_FALSE(bench.origin.may_start());
}

TEST(Origin, IsListedOnceWhenAPlaceIsFree) {
  Bench bench(Origin::Protocol::kHttp1, {1, 1, 1, 1, 1});
  Transfer& first = bench.add();
  bench.connect(first);
  bench.origin.waiting.push_back({});
  bench.origin.removed(first);
  bench.origin.socket_closed(0, entry_in(State::kConnected));
  EXPECT_EQ(bench.freed.size(), 1u);
  EXPECT_TRUE(bench.origin.listed);
}

}  // namespace
}  // namespace sluiceway::http
