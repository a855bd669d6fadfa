// The rule that money hangs on: a paid request is executed at most once, whatever the server does.
//
// libcurl by itself sends a request again, whatever its method, when a connection that it used
// before dies without an answer. These servers execute and then drop; they count.
#include <gtest/gtest.h>

#include "http/raw_server.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

// Answers the first request of each connection and executes the second without answering.
RawServer::Handler executes_then_drops(RawServer*& server) {
  return [&server](RawConnection& connection) {
    bool first = true;
    while (auto request = connection.read_request()) {
      ++server->executions;
      if (!first) return;  // dropped: executed, no answer
      first = false;
      connection.answer("{}");
    }
  };
}

class NoResendTest : public ::testing::Test {
 public:
  RawServer* self = nullptr;
  RawServer server{executes_then_drops(self)};
  std::unique_ptr<Transport> transport = make_curl_transport();
  void SetUp() override { self = &server; }

  TransferEnd call(Request request) {
    KeepingSink sink;
    transport->start(1, &request, &sink);
    EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    EXPECT_EQ(sink.ends, 1);
    return sink.end;
  }
};

TEST_F(NoResendTest, PaidPostOnAKeptConnection) {
  const auto url = url_of(server.url());
  EXPECT_EQ(call(post(url)).error, TransferError::kNone);
  const TransferEnd second = call(post(url));
  EXPECT_EQ(server.executions, 2);  // two calls, two executions
  EXPECT_TRUE(second.error == TransferError::kNotRewindable ||
              second.error == TransferError::kSendOrReceive)
      << transfer_error_name(second.error);
  EXPECT_TRUE(second.request_started);
  EXPECT_FALSE(second.complete);
  EXPECT_FALSE(second.response_started);
  // The next call is a call of its own.
  EXPECT_EQ(call(post(url)).error, TransferError::kNone);
  EXPECT_EQ(server.executions, 3);
}

TEST_F(NoResendTest, LargeBody) {
  const auto url = url_of(server.url());
  const std::string body(3'000'000, 'x');
  EXPECT_EQ(call(post(url, body)).error, TransferError::kNone);
  EXPECT_NE(call(post(url, body)).error, TransferError::kNone);
  EXPECT_EQ(server.executions, 2);
}

TEST_F(NoResendTest, PaidPostWithoutABody) {
  const auto url = url_of(server.url());
  EXPECT_EQ(call(post(url)).error, TransferError::kNone);  // leaves a connection behind
  const TransferEnd second = call(post(url, ""));
  EXPECT_EQ(second.error, TransferError::kNone);  // had a connection of its own
  EXPECT_FALSE(second.connection_reused);
  EXPECT_EQ(server.executions, 2);
}

TEST_F(NoResendTest, PaidGet) {
  const auto url = url_of(server.url());
  EXPECT_EQ(call(post(url)).error, TransferError::kNone);
  Request get = post(url, "");
  get.method = "GET";
  const TransferEnd second = call(get);
  EXPECT_EQ(second.error, TransferError::kNone);
  EXPECT_FALSE(second.connection_reused);
  EXPECT_EQ(server.executions, 2);
}

TEST_F(NoResendTest, ManyCallsInTurnAreEachExecutedOnce) {
  const auto url = url_of(server.url());
  for (int i = 1; i <= 50; ++i) {
    call(post(url));
    EXPECT_EQ(server.executions, i);
  }
}

// A free operation may be repeated on a dead connection; that is what `paid` is for.
TEST_F(NoResendTest, AFreeGetIsRepeated) {
  const auto url = url_of(server.url());
  EXPECT_EQ(call(post(url)).error, TransferError::kNone);
  Request get = post(url, "");
  get.method = "GET";
  get.paid = false;
  const TransferEnd second = call(get);
  EXPECT_EQ(second.error, TransferError::kNone);
  EXPECT_EQ(server.executions, 3);  // the call before, this one, and its repetition
}

TEST(NoResend, ConnectionResetMidRequest) {
  std::atomic<int> executions{0};
  RawServer server([&](RawConnection& connection) {
    connection.read_request();
    ++executions;  // a fresh connection that dies without a byte of answer
  });
  const auto transport = make_curl_transport();
  KeepingSink sink;
  Request request = post(url_of(server.url()));
  transport->start(7, &request, &sink);
  ASSERT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  EXPECT_EQ(executions, 1);
  EXPECT_EQ(sink.end.error, TransferError::kSendOrReceive);
  EXPECT_TRUE(sink.end.request_started);
}

}  // namespace
}  // namespace sluiceway::http
