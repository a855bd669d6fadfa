// The library's log lines: what is understood, and that a server's text cannot imitate it.
#include "http/curl_watch.h"

#include <gtest/gtest.h>

#include "http/origin.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

struct Watched {
  std::vector<Origin*> freed;
  Poller poller;
  Origin origin{{100, 8, 100, 8, 8}, Origin::Protocol::kUnknown, false, 0, &freed};
  Transfer transfer{poller, origin, nullptr};
};

TEST(Watch, RefusedStreams) {
  for (const char* line : {"[HTTP/2] [3] REFUSED_STREAM, try again on a new connection\n",
                           "REFUSED_STREAM, retrying a fresh connect\n"}) {
    Watched w;
    read_library_line(w.transfer, line);
    EXPECT_TRUE(w.transfer.refused_stream) << line;
  }
  for (const char* line :
       {"[HTTP/2] [3] header: x: [HTTP/2] [3] REFUSED_STREAM, try again on a new connection\n",
        "[HTTP/2] [3] status: REFUSED_STREAM, try again\n", "[HTTP/2] [] REFUSED_STREAM, try again",
        "HTTP/2 stream 3 was not closed cleanly: INTERNAL_ERROR (err 2)\n",
        "[HTTP/2] [3] <- FRAME[RST_STREAM, len=4, flags=0, error=7]\n",
        " REFUSED_STREAM, retrying a fresh connect\n", "[HTTP/2] [", ""}) {
    Watched w;
    read_library_line(w.transfer, line);
    EXPECT_FALSE(w.transfer.refused_stream) << line;
  }
}

// A stream above the last one of a GOAWAY on its own connection was not processed.
TEST(Watch, Goaway) {
  Watched w;
  Transfer other(w.poller, w.origin, nullptr), elsewhere(w.poller, w.origin, nullptr);
  w.transfer.shard_serial = other.shard_serial = elsewhere.shard_serial = 4;
  w.transfer.connection_id = other.connection_id = 7;
  elsewhere.connection_id = 8;
  read_library_line(w.transfer, "[HTTP/2] [3] OPENED stream for https://127.0.0.1/x\n");
  read_library_line(other, "[HTTP/2] [9] OPENED stream for https://127.0.0.1/x\n");
  read_library_line(elsewhere, "[HTTP/2] [9] OPENED stream for https://127.0.0.1/x\n");
  EXPECT_EQ(w.transfer.stream_id, 3);
  read_library_line(w.transfer, "received GOAWAY, error=0, last_stream=2147483647\n");
  EXPECT_FALSE(other.was_refused());  // only the announcement of one
  read_library_line(w.transfer, "received GOAWAY, error=0, last_stream=\n");
  read_library_line(w.transfer, "[HTTP/2] [9] header: received GOAWAY, error=0, last_stream=1\n");
  EXPECT_FALSE(other.was_refused());
  read_library_line(w.transfer, "received GOAWAY, error=0, last_stream=3\n");
  EXPECT_FALSE(w.transfer.was_refused());  // covered
  EXPECT_TRUE(other.was_refused());
  EXPECT_FALSE(elsewhere.was_refused());
  other.shard_serial = 5;  // another shard counts its connections anew
  EXPECT_FALSE(other.was_refused());
}

TEST(Watch, GoodbyesAreNotKeptForEver) {
  Watched w;
  w.transfer.stream_id = 1;
  for (int i = 0; i < 1000; ++i) {
    read_library_line(w.transfer, "received GOAWAY, error=0, last_stream=1\n");
  }
  EXPECT_EQ(w.origin.goaways.size(), kGoawaysMax);
}

TEST(Watch, WhatTheHandshakeAgreedOn) {
  Watched w;
  read_library_line(w.transfer, "ALPN: server accepted h2\n");
  EXPECT_EQ(w.origin.protocol(), Origin::Protocol::kHttp2);
  EXPECT_TRUE(w.transfer.told_h2);
  EXPECT_FALSE(w.origin.settled());  // an answer has the last word
  read_library_line(w.transfer, "ALPN: server accepted http/1.1\n");
  EXPECT_EQ(w.origin.protocol(), Origin::Protocol::kHttp1);
  w.origin.answered(20);
  read_library_line(w.transfer, "ALPN: server did not agree on a protocol. Uses default.\n");
  EXPECT_EQ(w.origin.protocol(), Origin::Protocol::kHttp2);
}

TEST(Watch, StreamLimitsBecomePlaces) {
  Watched w;
  ASSERT_TRUE(w.poller.open());
  read_library_line(w.transfer, "ALPN: server accepted h2\n");
  w.origin.added(w.transfer, 0);
  Poller::Entry& entry = w.poller.opened(50);
  entry.origin = &w.origin;
  w.origin.socket_opened(w.transfer, 0);
  entry.state = Poller::Entry::State::kConnected;
  w.origin.socket_connected();
  w.origin.connected(w.transfer);
  w.poller.wait_for_settings(50, 1);
  EXPECT_FALSE(w.origin.may_start());
  read_library_line(w.transfer, "[HTTP/2] [3] MAX_CONCURRENT_STREAMS: 9\n");  // not the connection
  EXPECT_FALSE(w.origin.may_start());
  read_library_line(w.transfer, "[HTTP/2] [0] MAX_CONCURRENT_STREAMS: 2\n");
  EXPECT_EQ(entry.streams, 2);
  EXPECT_TRUE(w.origin.may_start());
  Transfer second(w.poller, w.origin, nullptr), third(w.poller, w.origin, nullptr);
  w.origin.added(second, 0);
  EXPECT_FALSE(second.expects_connection);
  EXPECT_TRUE(w.origin.may_start());  // by opening another connection
  w.origin.added(third, 0);
  EXPECT_TRUE(third.expects_connection);
  EXPECT_FALSE(w.origin.may_start());
}

TEST(Watch, SettingsReadBeforeTheConnectionStands) {
  Watched w;
  w.transfer.opened_socket = true;
  read_library_line(w.transfer, "[HTTP/2] [0] MAX_CONCURRENT_STREAMS: 4294967295\n");
  EXPECT_EQ(w.transfer.server_streams, 1'000'000);
}

}  // namespace
}  // namespace sluiceway::http
