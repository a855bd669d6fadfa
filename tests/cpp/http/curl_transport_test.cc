// Answers of all shapes over plain HTTP/1.1, places at an origin, and bounds.
#include "http/curl_transport.h"

#include <gtest/gtest.h>

#include <deque>

#include "http/raw_server.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

// One call to a server that answers with these bytes and closes.
TransferEnd answered_with(const std::string& bytes, KeepingSink& sink,
                          const std::function<void(Request&)>& change = nullptr) {
  RawServer server([&](RawConnection& connection) {
    if (connection.read_request()) connection.write(bytes);
  });
  const auto transport = make_curl_transport();
  Request request = post(url_of(server.url()));
  if (change) change(request);
  transport->start(1, &request, &sink);
  EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(sink.ends, 1);
  return sink.end;
}

TEST(CurlTransport, WhatIsSentAndWhatComesBack) {
  std::string head, body;
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      head = request->head;
      body = request->body;
      connection.answer(R"({"ok":true})", "201 Created",
                        "X-Request-Id: r-1\r\nX-Twice: a\r\nx-twice: b\r\n");
    }
  });
  const auto transport = make_curl_transport();
  KeepingSink sink;
  Request request = post(url_of(server.url("/v1/chat?q=1")), R"({"model":"m"})");
  request.headers = headers_of({{"Content-Type", "application/json"}, {"X-Empty", ""}});
  request.extra_headers = {{"Idempotency-Key", "k-1"}};
  sink.when_head = [&] { EXPECT_EQ(sink.body, ""); };
  transport->start(1, &request, &sink);
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(head.substr(0, head.find("\r\n")), "POST /v1/chat?q=1 HTTP/1.1");
  EXPECT_EQ(body, R"({"model":"m"})");
  EXPECT_NE(head.find("\r\nContent-Length: 13\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("\r\nIdempotency-Key: k-1\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("\r\nX-Empty:\r\n"), std::string::npos) << head;
  // Nothing of the library's own.
  for (const char* name : {"Expect:", "Accept", "User-Agent", "form-urlencoded"}) {
    EXPECT_EQ(head.find(name), std::string::npos) << name;
  }
  EXPECT_EQ(sink.status, 201);
  EXPECT_EQ(sink.heads, 1);
  EXPECT_EQ(sink.body, R"({"ok":true})");
  ASSERT_EQ(sink.headers.size(), 5u);
  EXPECT_EQ(sink.headers[1].value, "r-1");
  EXPECT_EQ(sink.headers[3].value, "b");
  EXPECT_EQ(sink.end.error, TransferError::kNone);
  EXPECT_TRUE(sink.end.complete && sink.end.request_started && sink.end.response_started);
  EXPECT_EQ(sink.end.http_version, 11);
  EXPECT_EQ(sink.end.response_bytes, 11u);
  EXPECT_FALSE(sink.end.connection_reused);
  EXPECT_GT(sink.end.connected_ns, 0);
  EXPECT_GE(sink.end.total_ns, sink.end.first_byte_ns);
}

TEST(CurlTransport, MethodsAndConnectionsReused) {
  std::deque<std::string> lines;
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      lines.push_back(request->line() + " " + request->body);
      if (request->line().rfind("HEAD", 0) == 0) {
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      } else {
        connection.answer("12345");
      }
    }
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url("/x"));
  int call = 0;
  for (const auto& [method, body, sent] :
       std::vector<std::array<std::string, 3>>{{"POST", "p", "POST /x HTTP/1.1 p"},
                                               {"GET", "", "GET /x HTTP/1.1 "},
                                               {"DELETE", "", "DELETE /x HTTP/1.1 "},
                                               {"PUT", "u", "PUT /x HTTP/1.1 u"},
                                               {"HEAD", "", "HEAD /x HTTP/1.1 "},
                                               {"PATCH", "pp", "PATCH /x HTTP/1.1 pp"},
                                               {"POST", "", "POST /x HTTP/1.1 "}}) {
    KeepingSink sink;
    Request request = post(url, body);
    request.method = method;
    request.paid = false;
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    EXPECT_EQ(lines.back(), sent);
    EXPECT_TRUE(sink.end.complete) << method;
    EXPECT_EQ(sink.status, 200);
    EXPECT_EQ(sink.body, method == "HEAD" ? "" : "12345");
    EXPECT_EQ(sink.end.connection_reused, call++ > 0) << method;
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(transport->stats().connections_reused, 6u);
}

TEST(CurlTransport, CompleteOnlyWithAnEnd) {
  KeepingSink length, cut, chunked, cut_chunk, to_close, empty;
  EXPECT_TRUE(answered_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", length).complete);
  const TransferEnd cut_end = answered_with("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", cut);
  EXPECT_EQ(cut_end.error, TransferError::kPartialBody);
  EXPECT_FALSE(cut_end.complete);
  EXPECT_TRUE(cut_end.response_started);
  EXPECT_EQ(cut.body, "{}");
  EXPECT_TRUE(
      answered_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                    chunked)
          .complete);
  EXPECT_EQ(chunked.body, "{}");
  const TransferEnd cut_chunk_end =
      answered_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", cut_chunk);
  EXPECT_FALSE(cut_chunk_end.complete);
  EXPECT_NE(cut_chunk_end.error, TransferError::kNone);
  // Ended by closing: the bytes are there, but nobody can say that they are all.
  const TransferEnd close_end = answered_with("HTTP/1.1 200 OK\r\n\r\n{}", to_close);
  EXPECT_EQ(close_end.error, TransferError::kNone);
  EXPECT_FALSE(close_end.complete);
  EXPECT_EQ(to_close.body, "{}");
  EXPECT_TRUE(answered_with("HTTP/1.1 204 No Content\r\n\r\n", empty).complete);
  EXPECT_EQ(empty.heads, 1);
}

TEST(CurlTransport, AnswersThatAreNotHttp) {
  KeepingSink garbage, chunk, nothing;
  const TransferEnd garbage_end = answered_with("hello\r\n\r\n", garbage);
  EXPECT_EQ(garbage_end.error, TransferError::kProtocol);
  EXPECT_TRUE(garbage_end.request_started);
  const TransferEnd chunk_end = answered_with(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", chunk);
  EXPECT_FALSE(chunk_end.complete);
  EXPECT_NE(chunk_end.error, TransferError::kNone);
  EXPECT_EQ(answered_with("", nothing).error, TransferError::kSendOrReceive);
  EXPECT_EQ(nothing.heads, 0);
}

TEST(CurlTransport, InterimAnswersAreLeftOut) {
  KeepingSink sink;
  const TransferEnd end = answered_with(
      "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
      "2\r\n\r\n{}",
      sink, [](Request& request) { request.head_at_once = true; });
  EXPECT_TRUE(end.complete);
  EXPECT_EQ(sink.heads, 1);
  EXPECT_EQ(sink.status, 200);
  EXPECT_EQ(sink.headers.size(), 1u);
}

TEST(CurlTransport, HeadAtOnceComesBeforeTheBody) {
  std::atomic<bool> go{false};
  RawServer server([&](RawConnection& connection) {
    connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    while (!go) std::this_thread::yield();
    connection.write("{}");
  });
  const auto transport = make_curl_transport();
  KeepingSink sink;
  Request request = post(url_of(server.url()));
  request.head_at_once = true;
  transport->start(1, &request, &sink);
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.heads == 1; }));
  EXPECT_EQ(sink.body, "");
  go = true;
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(sink.body, "{}");
}

TEST(CurlTransport, Bounds) {
  KeepingSink body, head, huge_head, fits;
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x');
  EXPECT_EQ(answered_with(answer, body, [](Request& r) { r.response_bytes_max = 99; }).error,
            TransferError::kTooLarge);
  EXPECT_TRUE(answered_with(answer, fits, [](Request& r) { r.response_bytes_max = 100; }).complete);
  std::string fields;
  for (int i = 0; i < 100; ++i)
    fields += "X-" + std::to_string(i) + ": " + std::string(90, 'h') + "\r\n";
  const TransferEnd head_end =
      answered_with("HTTP/1.1 200 OK\r\n" + fields + "Content-Length: 2\r\n\r\n{}", head,
                    [](Request& r) { r.header_bytes_max = 5'000; });
  EXPECT_EQ(head_end.error, TransferError::kTooLarge);
  EXPECT_EQ(head.heads, 0);
  EXPECT_TRUE(head_end.request_started);
  std::string megabyte;
  for (int i = 0; i < 40; ++i) megabyte += fields;
  EXPECT_EQ(answered_with("HTTP/1.1 200 OK\r\n" + megabyte + "\r\n", huge_head).error,
            TransferError::kTooLarge);
}

TEST(CurlTransport, InvalidOrdersEndWithAReason) {
  const auto transport = make_curl_transport();
  KeepingSink no_url, header, method;
  Request first, second = post(url_of("http://127.0.0.1:1/")), third = second;
  second.extra_headers = {{"X", "a\r\nY: b"}};
  third.method = "PO ST";
  transport->start(1, &first, &no_url);
  transport->start(2, &second, &header);
  transport->start(3, &third, &method);
  EXPECT_EQ(no_url.ends, 0);  // never from inside start()
  transport->poll(0);
  for (const KeepingSink* sink : {&no_url, &header, &method}) {
    EXPECT_EQ(sink->ends, 1);
    EXPECT_EQ(sink->end.error, TransferError::kInvalidRequest);
    EXPECT_FALSE(sink->end.request_started);
  }
}

TEST(CurlTransport, ErrorsBeforeTheRequestAreProvenNotSent) {
  const RefusingPort closed;
  const auto transport = make_curl_transport();
  KeepingSink refused, unknown, not_tls;
  RawServer plain([](RawConnection& connection) { connection.write("not tls\r\n"); });
  Request first = post(url_of(closed.url()));
  Request second = post(url_of("http://name.invalid/"));
  Request third = post(url_of("https" + plain.url().substr(4)));
  transport->start(1, &first, &refused);
  transport->start(2, &second, &unknown);
  transport->start(3, &third, &not_tls);
  ASSERT_TRUE(
      poll_until(*transport, [&] { return refused.ends + unknown.ends + not_tls.ends == 3; }));
  EXPECT_EQ(refused.end.error, TransferError::kConnect);
  EXPECT_EQ(unknown.end.error, TransferError::kResolve);
  EXPECT_EQ(not_tls.end.error, TransferError::kTls);
  for (const KeepingSink* sink : {&refused, &unknown, &not_tls}) {
    EXPECT_FALSE(sink->end.request_started);
    EXPECT_FALSE(sink->end.response_started);
    EXPECT_FALSE(sink->end.detail.empty());
    EXPECT_EQ(sink->heads, 0);
  }
}

TEST(CurlTransport, QueueKeepsOrderAndTimesOut) {
  std::atomic<bool> go{false};
  std::mutex mutex;
  std::vector<std::string> order;
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      {
        std::lock_guard lock(mutex);
        order.push_back(request->body);
      }
      while (!go) std::this_thread::yield();
      connection.answer("{}");
    }
  });
  CurlTransportOptions options;
  options.connections_per_origin_max = 1;
  const auto transport = make_curl_transport(options);
  const auto url = url_of(server.url());
  std::deque<Request> requests;
  std::deque<KeepingSink> sinks(6);
  for (int i = 0; i < 6; ++i)
    requests.push_back(post(url, std::string(1, static_cast<char>('a' + i))));
  requests[2].pool_timeout_ns = 30'000'000;
  for (int i = 0; i < 6; ++i) {
    transport->start(static_cast<std::uint64_t>(i), &requests[static_cast<std::size_t>(i)],
                     &sinks[static_cast<std::size_t>(i)]);
  }
  ASSERT_TRUE(poll_until(*transport, [&] { return sinks[2].ends == 1; }));
  EXPECT_EQ(sinks[2].end.error, TransferError::kPoolTimeout);
  EXPECT_FALSE(sinks[2].end.request_started);
  EXPECT_GE(sinks[2].end.total_ns, 30'000'000);
  EXPECT_EQ(transport->stats().queued, 4u);
  EXPECT_FALSE(transport->cancel(4));  // waiting: nothing was sent
  EXPECT_EQ(transport->stats().queued, 3u);
  go = true;
  ASSERT_TRUE(poll_until(*transport, [&] { return sinks[5].ends == 1; }));
  EXPECT_EQ(order, (std::vector<std::string>{"a", "b", "d", "f"}));
  EXPECT_EQ(sinks[4].ends, 0);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(transport->stats().queued, 0u);
}

TEST(CurlTransport, AThousandAtOnce) {
  RawServer server([](RawConnection& connection) {
    while (auto request = connection.read_request()) connection.answer(request->body);
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  constexpr std::size_t kCount = 1000;
  std::deque<Request> requests;
  std::deque<KeepingSink> sinks(kCount);
  std::size_t ended = 0;
  for (int round = 0; round < 2; ++round) {
    requests.clear();
    ended = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
      requests.push_back(post(url, "body " + std::to_string(i)));
      requests.back().idle_reuse_max_ns = 600'000'000'000;  // a slow machine is no reason to retire
      sinks[i] = KeepingSink();
      sinks[i].when_end = [&] { ++ended; };
      transport->start(i, &requests[i], &sinks[i]);
    }
    ASSERT_TRUE(poll_until(*transport, [&] { return ended == kCount; }));
    for (std::size_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(sinks[i].body, requests[i].body);
      EXPECT_TRUE(sinks[i].end.complete);
    }
  }
  EXPECT_EQ(transport->stats().in_flight, 0u);
  EXPECT_LE(server.connections(), 1000);  // the second round used the first one's connections
  EXPECT_EQ(transport->stats().watchdog_progress, 0u);
}

TEST(CurlTransport, PauseHoldsTheBodyBackAndResumeDeliversIt) {
  RawServer server([](RawConnection& connection) {
    while (connection.read_request()) connection.answer(std::string(2'000'000, 'y'));
  });
  const auto transport = make_curl_transport();
  KeepingSink slow, quick;
  Request first = post(url_of(server.url())), second = first;
  slow.when_body = [&] { transport->pause(1); };
  transport->start(1, &first, &slow);
  transport->start(2, &second, &quick);
  ASSERT_TRUE(poll_until(*transport, [&] { return quick.ends == 1 && !slow.body.empty(); }));
  for (int i = 0; i < 20; ++i) transport->poll(0);
  EXPECT_LT(slow.body.size(), 100'000u);
  EXPECT_EQ(slow.ends, 0);
  std::size_t before = slow.body.size();
  transport->resume(1);
  ASSERT_TRUE(poll_until(*transport, [&] { return slow.body.size() > before; }));
  EXPECT_EQ(slow.ends, 0);  // paused again in its first piece
  slow.when_body = nullptr;
  transport->resume(1);
  ASSERT_TRUE(poll_until(*transport, [&] { return slow.ends == 1; }));
  EXPECT_EQ(slow.body, std::string(2'000'000, 'y'));
  EXPECT_TRUE(slow.end.complete);
}

}  // namespace
}  // namespace sluiceway::http
