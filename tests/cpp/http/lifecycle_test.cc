// Wake-ups, idle connections, forks, descriptors.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <deque>
#include <thread>

#include "http/raw_server.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

using std::chrono::steady_clock;

RawServer::Handler echo() {
  return [](RawConnection& connection) {
    while (auto request = connection.read_request()) connection.answer(request->body);
  };
}

TEST(Lifecycle, WakeFromAnotherThreadAndBeforeTheWait) {
  const auto transport = make_curl_transport();
  const auto before = steady_clock::now();
  transport->wake();
  transport->poll(-1);  // would wait for ever
  std::thread other([&] { transport->wake(); });
  transport->poll(-1);
  other.join();
  EXPECT_LT(steady_clock::now() - before, std::chrono::seconds(10));
  transport->poll(1'000'000);  // the bell was cleared: this one waits
  EXPECT_EQ(transport->stats().epoll_wait_calls, 3u);
}

TEST(Lifecycle, PollIsNeverEarly) {
  const auto transport = make_curl_transport();
  const auto before = steady_clock::now();
  transport->poll(12'300'000);
  EXPECT_GE(steady_clock::now() - before, std::chrono::nanoseconds(12'300'000));
}

TEST(Lifecycle, IdleConnectionsRetire) {
  RawServer server(echo());
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  const auto call = [&] {
    KeepingSink sink;
    Request request = post(url);
    request.idle_reuse_max_ns = 2'000'000'000;
    transport->start(1, &request, &sink);
    EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    return sink.end.connection_reused;
  };
  EXPECT_FALSE(call());
  EXPECT_TRUE(call());
  // Nothing is asked for any more: the transport closes the connection by itself.
  ASSERT_TRUE(poll_until(*transport, [&] { return transport->stats().connections_open == 0; }));
  ASSERT_TRUE(poll_until(*transport, [&] { return server.open_connections() == 0; }));
  EXPECT_FALSE(call());
  EXPECT_EQ(server.connections(), 2);
}

// Another transfer keeps the shard busy, so the old connection is only passed over.
TEST(Lifecycle, AnOldConnectionIsNotReusedNextToABusyOne) {
  std::atomic<bool> go{false};
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      while (request->body == "hold" && !go) std::this_thread::yield();
      connection.answer("{}");
    }
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  KeepingSink held, first, second;
  Request hold = post(url, "hold"), request = post(url);
  request.idle_reuse_max_ns = hold.idle_reuse_max_ns = 2'000'000'000;
  transport->start(1, &hold, &held);
  transport->start(2, &request, &first);
  ASSERT_TRUE(poll_until(*transport, [&] { return first.ends == 1; }));
  const auto until = steady_clock::now() + std::chrono::milliseconds(2'050);
  ASSERT_TRUE(poll_until(*transport, [&] { return steady_clock::now() > until; }));
  transport->start(3, &request, &second);
  ASSERT_TRUE(poll_until(*transport, [&] { return second.ends == 1; }));
  EXPECT_FALSE(second.end.connection_reused);
  go = true;
  ASSERT_TRUE(poll_until(*transport, [&] { return held.ends == 1; }));
  EXPECT_GE(transport->stats().watchdog_runs, 1u);
  EXPECT_EQ(transport->stats().watchdog_progress, 0u);
}

TEST(Lifecycle, BelowTwoSecondsNothingIsReused) {
  RawServer server(echo());
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  for (int i = 0; i < 3; ++i) {
    KeepingSink sink;
    Request request = post(url);
    request.idle_reuse_max_ns = 1'999'999'999;
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  }
  EXPECT_EQ(server.connections(), 3);
  EXPECT_EQ(transport->stats().connections_open, 0u);
}

// A server that closes idle connections must not make the loop spin, nor cost a call.
TEST(Lifecycle, ServerClosesAnIdleConnection) {
  std::atomic<int> closed{0};
  RawServer server([&](RawConnection& connection) {
    if (connection.read_request()) connection.answer("{}");
    ++closed;
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  for (int i = 0; i < 20; ++i) {
    KeepingSink sink;
    Request request = post(url);
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    EXPECT_EQ(sink.end.error, TransferError::kNone) << sink.end.detail;
    ASSERT_TRUE(poll_until(*transport, [&] { return server.open_connections() == 0; }));
    transport->poll(0);  // sees the close
  }
  EXPECT_EQ(server.connections(), 20);
  const std::uint64_t waits = transport->stats().epoll_wait_calls;
  transport->poll(30'000'000);
  EXPECT_LE(transport->stats().epoll_wait_calls - waits, 1u);
  EXPECT_LE(transport->stats().connections_open, 1u);
}

TEST(Lifecycle, LazyRegistration) {
  RawServer server(echo());
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  for (int i = 0; i < 100; ++i) {
    KeepingSink sink;
    Request request = post(url);
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  }
  EXPECT_LE(transport->stats().epoll_ctl_calls, 4u);  // not two a request
}

TEST(Lifecycle, AChildOfAForkLetsGoAndTheParentGoesOn) {
  RawServer server(echo());
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  const auto call = [&] {
    KeepingSink sink;
    Request request = post(url);
    transport->start(1, &request, &sink);
    EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    return sink.end;
  };
  EXPECT_EQ(call().error, TransferError::kNone);
  const int before = open_descriptors();
  const pid_t child = ::fork();
  if (child == 0) {
    transport->close_inherited();
    // epoll, bell and the connection are gone; the listener and the server's socket are not ours.
    _exit(open_descriptors() == before - 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  const TransferEnd after = call();
  EXPECT_EQ(after.error, TransferError::kNone);
  EXPECT_TRUE(after.connection_reused);  // the child has not touched it
}

TEST(Lifecycle, DescriptorsAreClosedOnExecAndAtTheEnd) {
  const int before = open_descriptors();
  {
    RawServer server(echo());
    const auto transport = make_curl_transport();
    const auto url = url_of(server.url());
    std::deque<KeepingSink> sinks(100);
    std::deque<Request> requests;
    for (std::size_t i = 0; i < sinks.size(); ++i) {
      requests.push_back(post(url));
      transport->start(i, &requests.back(), &sinks[i]);
    }
    ASSERT_TRUE(poll_until(*transport, [&] {
      for (const KeepingSink& sink : sinks) {
        if (sink.ends == 0) return false;
      }
      return true;
    }));
  }
  EXPECT_EQ(open_descriptors(), before);
}

// Destroying a transport with transfers in every state calls nobody and leaks nothing.
TEST(Lifecycle, DestructionInFlight) {
  std::atomic<int> got{0};
  const int before = open_descriptors();
  {
    RawServer server([&](RawConnection& connection) {
      connection.read_request();
      ++got;
      connection.wait_for_close();
    });
    CurlTransportOptions options;
    options.connections_per_origin_max = 3;
    auto transport = make_curl_transport(options);
    const auto url = url_of(server.url());
    std::deque<KeepingSink> sinks(6);
    std::deque<Request> requests;
    for (std::size_t i = 0; i < sinks.size(); ++i) {
      requests.push_back(post(url));
      transport->start(i, &requests.back(), &sinks[i]);
    }
    ASSERT_TRUE(poll_until(*transport, [&] { return got == 3; }));
    transport.reset();
    for (const KeepingSink& sink : sinks) EXPECT_EQ(sink.ends, 0);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace sluiceway::http
