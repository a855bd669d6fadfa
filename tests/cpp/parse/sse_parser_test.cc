// SseParser: the same events for every way of cutting the stream.
#include "parse/sse_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "parse/json_fields.h"
#include "support/vectors.h"

namespace sluiceway::parse {
namespace {

struct Seen {
  std::string type, data, id;
  bool operator==(const Seen&) const = default;
};
void PrintTo(const Seen& seen, std::ostream* out) {
  *out << seen.type << '|' << seen.data << '|' << seen.id;
}

struct Collect final : SseHandler {
  std::vector<Seen> events;
  std::vector<const char*> data_at;
  void on_event(const SseEvent& event) override {
    events.push_back({std::string(event.type), std::string(event.data), std::string(event.id)});
    data_at.push_back(event.data.data());
  }
};

// Each piece lies in a heap block of its own size, so that a sanitizer sees reads beyond it and
// views that outlive it.
void feed_piece(SseParser& parser, std::string_view piece, Collect& collect) {
  const std::vector<char> block(piece.begin(), piece.end());
  ASSERT_TRUE(parser.feed({block.data(), block.size()}, collect).ok());
}

std::vector<Seen> parse_whole(std::string_view stream) {
  SseParser parser;
  Collect collect;
  feed_piece(parser, stream, collect);
  return collect.events;
}

std::vector<Seen> parse_bytes(std::string_view stream) {
  SseParser parser;
  Collect collect;
  for (std::size_t i = 0; i < stream.size(); ++i) feed_piece(parser, stream.substr(i, 1), collect);
  return collect.events;
}

std::vector<Seen> parse_split(std::string_view stream, std::mt19937_64& random) {
  SseParser parser;
  Collect collect;
  while (!stream.empty()) {
    const std::size_t size = std::uniform_int_distribution<std::size_t>(0, stream.size())(random);
    feed_piece(parser, stream.substr(0, size), collect);
    stream.remove_prefix(size);
  }
  return collect.events;
}

std::string decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0, count = 0;
  for (char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = (bits << 6) | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>((bits >> count) & 255);
  }
  return out;
}

TEST(SseVectors, WebPlatformTests) {
  SLUICEWAY_VECTORS(path, "eventsource/wpt_eventsource.json");
  JsonReader json;
  ASSERT_TRUE(json.parse(testing::read_file(path)));
  std::mt19937_64 random(testing::seed());
  const auto at = [](const std::string& text) { return *JsonPointer::compile(text); };
  const std::size_t vectors = json.count(at("/vectors/*"));
  EXPECT_EQ(vectors, 22u);
  for (std::size_t v = 0; v < vectors; ++v) {
    const std::string base = "/vectors/" + std::to_string(v);
    SCOPED_TRACE(std::string(json.text(at(base + "/name")).value()));
    const std::string stream = decode_base64(json.text(at(base + "/stream_b64")).value());
    std::vector<Seen> expected;
    for (std::size_t e = 0; e < json.count(at(base + "/events/*")); ++e) {
      const std::string event = base + "/events/" + std::to_string(e);
      expected.push_back({std::string(json.text(at(event + "/type")).value()),
                          std::string(json.text(at(event + "/data")).value()),
                          std::string(json.text(at(event + "/last_event_id")).value())});
    }
    EXPECT_EQ(parse_whole(stream), expected);
    EXPECT_EQ(parse_bytes(stream), expected);
    for (int i = 0; i < 200; ++i) EXPECT_EQ(parse_split(stream, random), expected);

    SseParser parser;
    Collect collect;
    feed_piece(parser, stream, collect);
    const auto retry_ms = json.integer(at(base + "/reconnection_ms"));
    if (retry_ms) {
      EXPECT_EQ(parser.retry_ms(), *retry_ms);
    }
  }
}

void expect_events(std::string_view stream, const std::vector<Seen>& expected) {
  EXPECT_EQ(parse_whole(stream), expected);
  EXPECT_EQ(parse_bytes(stream), expected);
}

TEST(SseParser, ProviderStreams) {
  expect_events("data: {\"a\":1}\n\ndata: [DONE]\n\n",
                {{"message", "{\"a\":1}", ""}, {"message", "[DONE]", ""}});
  expect_events(
      "event: message_start\r\ndata: {}\r\n\r\nevent: ping\r\ndata: {\"type\":\"ping\"}\r\n\r\n",
      {{"message_start", "{}", ""}, {"ping", "{\"type\":\"ping\"}", ""}});
  expect_events(": keep-alive\n\n: keep-alive\n\ndata:x\n\n", {{"message", "x", ""}});
}

TEST(SseParser, FieldsByTheRules) {
  expect_events("data\n\n", {{"message", "", ""}});
  expect_events("data\ndata\n\n", {{"message", "\n", ""}});
  expect_events("data:\n\n", {{"message", "", ""}});
  expect_events("data:  two\n\n", {{"message", " two", ""}});
  expect_events("data:a\ndata:b\ndata: c\n\n", {{"message", "a\nb\nc", ""}});
  expect_events("event:x\n\ndata:a\n\n", {{"message", "a", ""}});  // a type without data is dropped
  expect_events("event:x\nevent:\ndata:a\n\n", {{"message", "a", ""}});
  expect_events("event:x\nevent:y\ndata:a\n\n", {{"y", "a", ""}});
  expect_events("Data:a\ndatax:b\n data:c\n\n", {});
  expect_events("id:1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n",
                {{"message", "a", "1"}, {"message", "b", "1"}, {"message", "c", ""}});
  expect_events("id:7\n\ndata:a\n\n", {{"message", "a", "7"}});
  expect_events(std::string_view("id:1\nid:2\0\ndata:a\n\n", 19), {{"message", "a", "1"}});
  expect_events("\n\n\n", {});
  expect_events("", {});
}

TEST(SseParser, LineEndsAcrossCuts) {
  expect_events("data:a\r\rdata:b\n\ndata:c\r\n\r\n",
                {{"message", "a", ""}, {"message", "b", ""}, {"message", "c", ""}});
  expect_events("data:a\n\rdata:b\r\n\n", {{"message", "a", ""}, {"message", "b", ""}});
  SseParser parser;
  Collect collect;
  for (std::string_view piece : {"data:a\r", "\n", "\r", "\ndata:b\r", "\r"}) {
    feed_piece(parser, piece, collect);
  }
  EXPECT_EQ(collect.events, (std::vector<Seen>{{"message", "a", ""}, {"message", "b", ""}}));
}

TEST(SseParser, ByteOrderMarkOnlyAtTheStart) {
  expect_events(
      "\xEF\xBB\xBF"
      "data:a\n\n",
      {{"message", "a", ""}});
  expect_events(
      "\xEF\xBB\xBF\xEF\xBB\xBF"
      "data:a\n\ndata:b\n\n",
      {{"message", "b", ""}});
  expect_events(
      "\xEF\xBB"
      "data:a\n\ndata:b\n\n",
      {{"message", "b", ""}});
  expect_events("\xEF\n\ndata:b\n\n", {{"message", "b", ""}});
}

TEST(SseParser, TheCutEventIsNotDeliveredButIsKnown) {
  SseParser parser;
  Collect collect;
  EXPECT_FALSE(parser.pending());
  feed_piece(parser, "data:a\n\n", collect);
  EXPECT_FALSE(parser.pending());
  feed_piece(parser, "da", collect);
  EXPECT_TRUE(parser.pending());
  feed_piece(parser, "ta:b\n", collect);
  EXPECT_TRUE(parser.pending());
  EXPECT_EQ(collect.events.size(), 1u);
  feed_piece(parser, "\n", collect);
  EXPECT_FALSE(parser.pending());
  EXPECT_EQ(collect.events.size(), 2u);
}

TEST(SseParser, CountsCommentsAndEvents) {
  SseParser parser;
  Collect collect;
  feed_piece(parser, ": keep-", collect);
  feed_piece(parser, "alive\n\n:\n\ndata:a\n\nretry: 250\n\n", collect);
  EXPECT_EQ(parser.comments(), 2u);
  EXPECT_EQ(parser.events(), 1u);
  EXPECT_EQ(parser.retry_ms(), 250);
  parser.reset();
  EXPECT_EQ(parser.comments(), 0u);
  EXPECT_EQ(parser.retry_ms(), -1);
  EXPECT_EQ(parser.last_event_id(), "");
}

TEST(SseParser, RetryTakesDigitsOnly) {
  SseParser parser;
  Collect collect;
  feed_piece(parser, "retry:-5\nretry:1.5\nretry:\nretry:x\n", collect);
  EXPECT_EQ(parser.retry_ms(), -1);
  feed_piece(parser, "retry:99999999999999999999999999\n", collect);
  EXPECT_EQ(parser.retry_ms(), 1'000'000'000'000);
}

TEST(SseParser, WholeEventsAreViewsIntoTheFedBytes) {
  const std::string stream = "event: x\ndata: {\"a\":1}\n\ndata: b\n\n";
  SseParser parser;
  Collect collect;
  ASSERT_TRUE(parser.feed(stream, collect).ok());
  ASSERT_EQ(collect.data_at.size(), 2u);
  EXPECT_EQ(collect.data_at[0], stream.data() + stream.find('{'));
  EXPECT_EQ(collect.data_at[1], stream.data() + stream.find('b', 20));
}

TEST(SseParser, BoundsLinesAndEvents) {
  {
    SseParser parser(10, 100);
    Collect collect;
    EXPECT_TRUE(parser.feed("data:12345\n\n", collect).ok());
    EXPECT_EQ(parser.feed("data:123456\n\n", collect).code(), absl::StatusCode::kResourceExhausted);
    EXPECT_FALSE(parser.feed("data:1\n\n", collect).ok());  // stays failed
    EXPECT_EQ(collect.events.size(), 1u);
  }
  {
    SseParser parser(10, 100);
    Collect collect;
    Status status;
    int fed = 0;
    for (; fed < 100 && status.ok(); ++fed) status = parser.feed("x", collect);
    EXPECT_EQ(fed, 11);  // an endless line is refused before its end
  }
  {
    SseParser parser(10, 7);
    Collect collect;
    EXPECT_TRUE(parser.feed("data:123\ndata:456\n\n", collect).ok());  // 3 + 1 + 3
    EXPECT_EQ(parser.feed("data:123\ndata:4567\n\n", collect).code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(collect.events.size(), 1u);
    parser.reset();
    EXPECT_TRUE(parser.feed("data:1\n\n", collect).ok());
  }
}

// Random streams made of the characters that matter, cut at random.
TEST(SseParser, SplitsNeverMatter) {
  std::mt19937_64 random(testing::seed());
  static constexpr std::string_view kPieces[] = {"data", "event",        "id",     ":",  ":",
                                                 " ",    "\n",           "\n",     "\r", "\r\n",
                                                 "x",    "\xEF\xBB\xBF", "retry:1"};
  for (int round = 0; round < 2000; ++round) {
    std::string stream;
    for (int i = 0; i < 40; ++i) stream += kPieces[random() % std::size(kPieces)];
    const std::vector<Seen> expected = parse_whole(stream);
    ASSERT_EQ(parse_bytes(stream), expected) << stream;
    ASSERT_EQ(parse_split(stream, random), expected) << stream;
  }
}

}  // namespace
}  // namespace sluiceway::parse
