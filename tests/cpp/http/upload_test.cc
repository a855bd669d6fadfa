// Bodies from parts on the wire: whole, with their length, never rewound, and stopped when a file
// changes. What the connection takes is told while it is sent.
#include <gtest/gtest.h>

#include "http/raw_server.h"
#include "http/temp_file.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

std::shared_ptr<const Body> body_of(const TempFile& file, std::int64_t length) {
  auto opened = BodyFile::of(file.fd(), "a.wav");
  EXPECT_TRUE(opened.ok()) << opened.status();
  auto body = Body::make({{.bytes = "<"}, {.file = *opened, .length = length}, {.bytes = ">"}});
  EXPECT_TRUE(body.ok()) << body.status();
  return *body;
}

Request upload(const std::shared_ptr<const Url>& url, std::shared_ptr<const Body> parts) {
  Request request;
  request.url = url;
  request.parts = std::move(parts);
  return request;
}

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return out;
}

TEST(Upload, ArrivesWholeAndWithItsLength) {
  std::string seen, head;
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      head = request->head;
      seen = request->body;
      connection.answer("{}");
    }
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16'384},
                                 std::size_t{65'536}, std::size_t{3'000'001}}) {
    const std::string text = pattern(size);
    const TempFile file(text);
    Request request = upload(url, body_of(file, static_cast<std::int64_t>(size)));
    KeepingSink sink;
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    EXPECT_EQ(sink.end.error, TransferError::kNone) << sink.end.detail;
    EXPECT_TRUE(seen == "<" + text + ">") << size;
    EXPECT_NE(head.find("Content-Length: " + std::to_string(size + 2) + "\r\n"), std::string::npos);
    EXPECT_EQ(head.find("Expect"), std::string::npos);
  }
  EXPECT_EQ(server.connections(), 1);
}

// Executes the second request of a connection and drops it, as in no_resend_test.cc.
class UploadNoResend : public ::testing::TestWithParam<bool> {};

TEST_P(UploadNoResend, IsNotRewoundOnADeadConnection) {
  std::atomic<int> executions{0};
  RawServer server([&](RawConnection& connection) {
    for (int n = 0; connection.read_request(); ++n) {
      ++executions;
      if (n > 0) return;
      connection.answer("{}");
    }
  });
  const auto transport = make_curl_transport();
  const auto url = url_of(server.url());
  const TempFile file(pattern(100'000));
  for (int call = 1; call <= 2; ++call) {
    Request request = upload(url, body_of(file, 100'000));
    request.paid = GetParam();
    KeepingSink sink;
    transport->start(1, &request, &sink);
    ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    EXPECT_EQ(sink.end.error == TransferError::kNone, call == 1);
    EXPECT_TRUE(sink.end.request_started);
    EXPECT_FALSE(call == 2 && sink.end.response_started);
  }
  EXPECT_EQ(executions, 2);  // two calls, two executions
}

INSTANTIATE_TEST_SUITE_P(PaidAndFree, UploadNoResend, ::testing::Bool(),
                         [](const auto& made) { return made.param ? "paid" : "free"; });

TEST(Upload, AFileThatChangedBeforeIsProvenUnsent) {
  RawServer server([](RawConnection& connection) { connection.wait_for_close(); });
  const auto transport = make_curl_transport();
  const TempFile file(pattern(1'000));
  Request request = upload(url_of(server.url()), body_of(file, 1'000));
  ASSERT_EQ(::ftruncate(file.fd(), 999), 0);
  KeepingSink sink;
  transport->start(1, &request, &sink);
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(sink.end.error, TransferError::kBodyChanged);
  EXPECT_FALSE(sink.end.request_started);
  EXPECT_NE(sink.end.detail.find("'a.wav'"), std::string::npos);
  EXPECT_EQ(server.connections(), 0);
  EXPECT_EQ(transport->stats().in_flight, 0u);
}

// A server that takes what its socket holds and then waits for a word.
struct SlowReader {
  ~SlowReader() { let_go(); }
  void let_go() {
    go = true;
    go.notify_all();
  }
  std::atomic<bool> go{false};
  std::atomic<std::size_t> received{0};
  RawServer server{[this](RawConnection& connection) {
    go.wait(false);
    if (const auto request = connection.read_request()) {
      received = request->body.size();
      connection.answer("{}");
    }
  }};
};

TEST(Upload, AFileThatShrinksMeanwhileIsNeverSentWhole) {
  constexpr std::int64_t kSize = 40'000'000;  // more than sockets hold
  SlowReader slow;
  const auto transport = make_curl_transport();
  const TempFile file("");
  ASSERT_EQ(::ftruncate(file.fd(), kSize), 0);
  Request request = upload(url_of(slow.server.url()), body_of(file, kSize));
  request.watch_sending = true;
  KeepingSink sink;
  transport->start(1, &request, &sink);
  ASSERT_TRUE(poll_until(*transport, [&] { return transport->sending(1).last_ns > 0; }));
  EXPECT_TRUE(transport->sending(1).started);
  EXPECT_FALSE(transport->sending(1).ended);
  ASSERT_EQ(::ftruncate(file.fd(), kSize - 1), 0);
  slow.let_go();
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(sink.end.error, TransferError::kBodyChanged);
  EXPECT_TRUE(sink.end.request_started);
  EXPECT_NE(sink.end.detail.find("'a.wav'"), std::string::npos) << sink.end.detail;
  EXPECT_EQ(slow.received, 0u);
}

TEST(Upload, WhatTheConnectionTookIsTold) {
  constexpr std::int64_t kSize = 40'000'000;  // more than sockets hold
  SlowReader slow;
  const auto transport = make_curl_transport();
  const TempFile file("");
  ASSERT_EQ(::ftruncate(file.fd(), kSize), 0);
  Request request = upload(url_of(slow.server.url()), body_of(file, kSize));
  request.watch_sending = true;
  KeepingSink sink;
  transport->start(1, &request, &sink);
  EXPECT_FALSE(transport->sending(1).started);
  EXPECT_FALSE(transport->sending(1).ended);
  // Until nothing more is taken.
  std::int64_t last = -1;
  ASSERT_TRUE(poll_until(*transport, [&] {
    const std::int64_t before = std::exchange(last, transport->sending(1).last_ns);
    return last > 0 && before == last;
  }));
  EXPECT_TRUE(transport->sending(1).started);
  EXPECT_FALSE(transport->sending(1).ended);
  EXPECT_EQ(transport->stats().in_flight, 1u);
  slow.let_go();
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_TRUE(transport->sending(1).ended);  // no such transfer any more
  EXPECT_EQ(sink.end.error, TransferError::kNone) << sink.end.detail;
  EXPECT_EQ(slow.received, static_cast<std::size_t>(kSize + 2));
  EXPECT_EQ(transport->stats().in_flight, 0u);
}

}  // namespace
}  // namespace sluiceway::http
