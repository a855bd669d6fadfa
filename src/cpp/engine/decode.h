// Reads answers and error bodies by a dialect: whole bodies, and streams piece by piece.
//
// A whole body is an answer only if it parses in full (a cut body decides about money). A stream is
// complete only at its terminator. Final usage of a stream is the usage seen together with or after
// its finish reason: some providers report a growing count in every chunk, and a count before the
// end is not what is billed. Without a finish reason the usage of a complete stream counts if no
// text came after it. Threads: the engine's; one Decoder, one StreamDecoder a stream.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer.h"
#include "engine/dialect.h"
#include "parse/json_fields.h"
#include "parse/sse_parser.h"

namespace sluiceway::engine {

class Decoder {
 public:
  // Fills text, usage, finish reason and the rest from `answer.body`. `counted` is what was counted
  // before sending, or null. False: not one JSON value, or without the dialect's text and finish
  // reason both; the usage is filled as far as it can be read.
  bool read_body(const Dialect& dialect, Answer& answer, const Usage* counted = nullptr);

  // The class of an answer that is not 2xx (or a redirect), from status and body; fills the
  // provider's words.
  Failure classify(const Dialect* dialect, int status, std::string_view body, ErrorInfo& error);
  // The words of an error that a 200 may hold, in the body that was read last.
  void read_error(const Dialect& dialect, ErrorInfo& error);
  // The class of an error inside a stream by the dialect's rules; kNone when none matches.
  Failure match_rules(const Dialect& dialect, int status, const ErrorInfo& error,
                      std::string_view detail_code) const;

  parse::JsonReader& json() { return json_; }

 private:
  parse::JsonReader json_;
};

// One piece of a stream as the caller sees it.
struct Delta {
  bool reasoning = false;
  std::string text;
};

class StreamDecoder final : public parse::SseHandler {
 public:
  StreamDecoder(const Dialect& dialect, parse::JsonReader& json) : dialect_(dialect), json_(json) {}

  // New deltas are appended to `out`. An error status: the stream breaks its format's bounds.
  Status feed(std::string_view bytes, std::vector<Delta>& out);
  void on_event(const parse::SseEvent& event) override;
  // The body has ended as it should: a terminator that lacks nothing but its empty line counts.
  void body_ended();

  bool ended() const { return ended_; }            // the terminator was seen
  bool failed() const { return failed_; }          // an error event, or an event that is not JSON
  bool over() const { return ended_ || failed_; }  // whatever else comes does not count
  bool malformed() const { return malformed_; }
  bool delivered() const { return delivered_; }  // at least one delta went to the caller
  bool usage_final() const { return usage_final_; }
  // Of a complete stream: no count of its usage is known to be too old.
  bool usage_whole() const { return usage_final_ || usage_last_ || !raw_.anything(); }
  const ErrorInfo& error() const { return error_; }
  // Text, usage, finish reason and model so far.
  void fill(Answer& answer, const Usage* counted = nullptr) const;

 private:
  void read_event(std::string_view type);
  void read_usage(std::string_view type, bool finished_here);
  void append(bool reasoning, std::string_view text);

  const Dialect& dialect_;
  parse::JsonReader& json_;
  parse::SseParser sse_;
  std::vector<Delta>* out_ = nullptr;
  RawUsage raw_;
  std::string text_, reasoning_text_, finish_reason_, model_, response_id_;
  std::int64_t created_s_ = 0;
  ErrorInfo error_;
  bool ended_ = false, failed_ = false, malformed_ = false, delivered_ = false;
  bool finished_ = false, usage_final_ = false;
  bool usage_last_ = false;  // usage was seen, and no text after it
};

}  // namespace sluiceway::engine
