// Server-sent events: an incremental parser of text/event-stream.
//
// Model: bytes go in as they arrive, cut anywhere; events come out in order through SseHandler,
// the same ones for every way of cutting. An event is delivered at its empty line; what the end of
// the stream cuts off is never delivered (pending() tells that there was something). Lines end in
// CR, LF or CRLF. A leading byte order mark is dropped. Bytes are passed on as they are: UTF-8 is
// not checked here (JSON inside is checked by its own parser).
//
// Bounds: an event that lies whole inside the bytes of one feed() is delivered as views into them,
// without a copy or an allocation; others are gathered in buffers that are kept for reuse. A line
// or an event's data above its bound is a typed error (kResourceExhausted), after which every
// further feed() returns the same error. Time: two memchr passes over the bytes.
// Threads: one parser belongs to one thread.
//
// Example:
//   struct Print : SseHandler { void on_event(const SseEvent& e) override { use(e.data); } } print;
//   SseParser parser;
//   parser.feed("data: {\"a\":1}\n\n", print);  // one event, type "message", data {"a":1}
//
// Source: WHATWG HTML, section 9.2 "Server-sent events" (living standard, read 2026-11-22).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluiceway::parse {

// Views live until on_event returns.
struct SseEvent {
  std::string_view type;       // the `event:` field, "message" when there is none
  std::string_view data;       // `data:` lines joined by LF; may be empty
  std::string_view id;         // the last `id:` of the stream so far
  std::int64_t retry_ms = -1;  // the last `retry:` of the stream so far, or -1
};

class SseHandler {
 public:
  virtual ~SseHandler() = default;
  virtual void on_event(const SseEvent& event) = 0;
};

class SseParser {
 public:
  static constexpr std::size_t kBytesMax = std::size_t{32} << 20;

  // The bounds are for one line, and for all data lines of one event together.
  explicit SseParser(std::size_t line_bytes_max = kBytesMax,
                     std::size_t event_bytes_max = kBytesMax)
      : line_bytes_max_(line_bytes_max), event_bytes_max_(event_bytes_max) {}

  // Takes the next bytes and calls the handler for every event that they complete. The handler must
  // not call this parser's feed() or reset().
  Status feed(std::string_view bytes, SseHandler& handler);

  // Fields of an undelivered event, or a part of a line, are waiting: a stream that ends now was
  // cut inside an event.
  bool pending() const { return has_data_ || has_type_ || !line_.empty() || mark_bytes_ % 3 != 0; }

  // The data of an event that lacks only its empty line, or that and the end of its one line; ""
  // when there is none. Until the next feed().
  std::string_view waiting_data() const;

  // Comment lines (": keep-alive") since the start.
  std::uint64_t comments() const { return comments_; }
  std::uint64_t events() const { return events_; }
  std::string_view last_event_id() const { return id_; }
  std::int64_t retry_ms() const { return retry_ms_; }

  // As new, for the next stream; buffers are kept.
  void reset();

 private:
  std::string_view drop_byte_order_mark(std::string_view bytes);
  Status take_line(std::string_view line, bool in_fed_bytes, SseHandler& handler);
  Status add_data(std::string_view value, bool in_fed_bytes);
  void take_field(std::string_view name, std::string_view value, bool in_fed_bytes);
  void deliver(SseHandler& handler);
  void keep_views();
  Status fail(std::string_view what);

  std::size_t line_bytes_max_;
  std::size_t event_bytes_max_;
  Status error_;
  std::string line_;         // the part of a line that earlier bytes held
  std::string data_buffer_;  // data lines that could not stay views
  std::string type_buffer_;
  std::string_view data_view_;  // into the fed bytes or into data_buffer_
  std::string_view type_view_;  // into the fed bytes or into type_buffer_
  std::string id_;
  std::int64_t retry_ms_ = -1;
  std::uint64_t comments_ = 0;
  std::uint64_t events_ = 0;
  std::uint8_t mark_bytes_ = 0;  // bytes of the byte order mark seen; 3: past it, or there was none
  bool has_data_ = false;
  bool has_type_ = false;
  bool data_in_buffer_ = false;
  bool type_in_buffer_ = false;
  bool after_cr_ = false;  // the last byte was CR: an LF that follows belongs to it
};

}  // namespace sluiceway::parse
