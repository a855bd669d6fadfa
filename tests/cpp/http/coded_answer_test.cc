// Answers in a content coding: undone by us, bounded, cut, spoilt, and read slowly.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <utility>

#include "http/coded_text.h"
#include "http/curl_transport.h"
#include "http/raw_server.h"
#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

// 100,000 times "a" in gzip.
constexpr char kSqueezed[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xac\xeb\x5f"
    "\xc2\x1a\x1e\x40\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xaf\x06\x87\xfa\xe2\x1b\xa0\x86\x01"
    "\x00";
const std::string_view kGzip(kSqueezed, sizeof kSqueezed - 1);

TEST(CodedAnswer, CodingsAreUndoneAndBounded) {
  std::atomic<bool> asked{false};
  RawServer server([&](RawConnection& connection) {
    while (auto request = connection.read_request()) {
      asked = asked || request->has("ccept-Encoding");
      connection.answer(kGzip, "200 OK", "Content-Encoding: gzip\r\n");
    }
  });
  const auto transport = make_curl_transport();
  const auto call = [&](bool decode, std::size_t bytes_max) {
    KeepingSink sink;
    Request request = post(url_of(server.url()));
    request.decode = decode;
    request.response_bytes_max = bytes_max;
    transport->start(1, &request, &sink);
    EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
    return sink;
  };
  KeepingSink sink = call(true, 100'000);
  EXPECT_EQ(sink.end.error, TransferError::kNone) << sink.end.detail;
  EXPECT_EQ(sink.body, std::string(100'000, 'a'));
  EXPECT_TRUE(sink.end.complete);
  EXPECT_EQ(sink.end.response_bytes, 100'000u);
  EXPECT_EQ(call(false, 100'000).body, kGzip);  // as it came
  sink = call(true, 99'999);                    // one byte too many comes out of it
  EXPECT_EQ(sink.end.error, TransferError::kTooLarge);
  EXPECT_LE(sink.body.size(), 99'999u);
  EXPECT_FALSE(asked);  // it came unasked
}

// One answer of a coded body, as a caller gets it.
KeepingSink coded_answer(const std::string& coded, const std::string& headers,
                         std::size_t bytes_max = 1u << 20) {
  RawServer server([&](RawConnection& connection) {
    while (connection.read_request()) connection.answer(coded, "200 OK", headers);
  });
  const auto transport = make_curl_transport();
  KeepingSink sink;
  Request request = post(url_of(server.url()));
  request.response_bytes_max = bytes_max;
  transport->start(1, &request, &sink);
  EXPECT_TRUE(poll_until(*transport, [&] { return sink.ends == 1; }));
  return sink;
}

TEST(CodedAnswer, ACodedBodyThatIsCutIsNotWhole) {
  const std::string coded = from_hex(kGzipHex);
  for (const std::size_t kept : {coded.size() - 1, coded.size() - 9, std::size_t{12}}) {
    const KeepingSink sink = coded_answer(coded.substr(0, kept), "Content-Encoding: gzip\r\n");
    EXPECT_EQ(sink.end.error, TransferError::kPartialBody) << kept;
    EXPECT_FALSE(sink.end.complete) << kept;
    EXPECT_EQ(sink.body, squares().substr(0, sink.body.size())) << kept;
  }
  const KeepingSink whole = coded_answer(coded, "Content-Encoding: gzip\r\n");
  EXPECT_EQ(whole.end.error, TransferError::kNone) << whole.end.detail;
  EXPECT_TRUE(whole.end.complete);
  EXPECT_EQ(whole.body, squares());
  const KeepingSink none = coded_answer("", "Content-Encoding: gzip\r\n");  // no body, no coding
  EXPECT_EQ(none.end.error, TransferError::kNone) << none.end.detail;
}

TEST(CodedAnswer, CodingsOfSeveralHeaderLinesAndMembersAreUndone) {
  EXPECT_EQ(
      coded_answer(from_hex(kBrotliOfGzipHex), "Content-Encoding: gzip\r\nContent-Encoding: br\r\n")
          .body,
      squares());
  const std::string member = from_hex(kGzipHex);
  EXPECT_EQ(coded_answer(member + member, "Content-Encoding: gzip\r\n").body,
            squares() + squares());
}

TEST(CodedAnswer, ABodyThatIsNotItsCodingIsNoAnswer) {
  const KeepingSink spoilt = coded_answer("{\"a\": 1}", "Content-Encoding: gzip\r\n");
  EXPECT_EQ(spoilt.end.error, TransferError::kProtocol);
  EXPECT_EQ(spoilt.body, "");
  const KeepingSink unknown = coded_answer("{}", "Content-Encoding: compress\r\n");
  EXPECT_EQ(unknown.end.error, TransferError::kProtocol);
  EXPECT_NE(unknown.end.detail.find("'compress' is not known"), std::string::npos);
}

// Stored blocks of no bytes (RFC 1951 3.2.4): nothing ever comes out of them.
TEST(CodedAnswer, ACodedBodyThatHoldsNothingIsBounded) {
  std::string coded = from_hex("1f8b0800000000000003");
  for (int i = 0; i < 200'000; ++i) coded.append("\0\0\0\xff\xff", 5);
  const KeepingSink sink = coded_answer(coded, "Content-Encoding: gzip\r\n", 1'000);
  EXPECT_EQ(sink.end.error, TransferError::kTooLarge);
}

TEST(CodedAnswer, ASlowReaderStopsInTheMiddleOfAPiece) {
  RawServer server([&](RawConnection& connection) {
    while (connection.read_request()) {
      connection.answer(kGzip, "200 OK", "Content-Encoding: gzip\r\n");
    }
  });
  const auto transport = make_curl_transport();
  KeepingSink sink;
  int pauses = 0;
  std::size_t most = 0, seen = 0;
  sink.when_body = [&] {
    most = std::max(most, sink.body.size() - seen);
    seen = sink.body.size();
    transport->pause(1);
    ++pauses;
  };
  Request request = post(url_of(server.url()));
  transport->start(1, &request, &sink);
  int resumed = 0;
  ASSERT_TRUE(poll_until(*transport, [&] {
    if (pauses > resumed) {
      ++resumed;
      transport->resume(1);
    }
    return sink.ends == 1;
  }));
  EXPECT_EQ(sink.end.error, TransferError::kNone) << sink.end.detail;
  EXPECT_EQ(sink.body, std::string(100'000, 'a'));
  EXPECT_GE(pauses, 6);  // 16 kB at a time of the one piece that came
  EXPECT_LE(most, 16'384u);
}

// What is wrong is met when the transfer goes on, and the server sends nothing more.
TEST(CodedAnswer, WhatIsSpoiltBehindAPauseEndsItAtOnce) {
  // A block of 100,000 times "a" and one of the type that does not exist (RFC 1951, 3.2.3), which
  // come in one piece: the second is met when the transfer goes on.
  const std::string coded = from_hex("1f8b0800000000000203ecc13101000000c2a0aceb5fc21a1e4001") +
                            std::string(96, '\0') + from_hex("af060000ffff") +
                            std::string(20, '\xff');
  RawServer server([&](RawConnection& connection) {
    connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999999\r\n\r\n" +
                     coded);
    connection.wait_for_close();
  });
  const auto transport = make_curl_transport();
  for (const std::size_t bytes_max : {std::size_t{1} << 20, std::size_t{50'000}}) {
    KeepingSink sink;
    bool paused = false;
    sink.when_body = [&] {
      paused = true;
      transport->pause(1);
    };
    Request request = post(url_of(server.url()));
    request.response_bytes_max = bytes_max;
    transport->start(1, &request, &sink);
    EXPECT_TRUE(poll_until(*transport, [&] {
      if (std::exchange(paused, false)) transport->resume(1);
      return sink.ends == 1;
    }));
    const bool bounded = bytes_max < 100'000;
    EXPECT_EQ(sink.end.error, bounded ? TransferError::kTooLarge : TransferError::kProtocol);
    EXPECT_LE(sink.body.size(), std::min<std::size_t>(bytes_max, 100'000));
    EXPECT_EQ(transport->stats().in_flight, 0u);
    transport->cancel(1);
  }
}

}  // namespace
}  // namespace sluiceway::http
