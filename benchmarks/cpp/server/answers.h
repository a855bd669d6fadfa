// What the benchmark server answers, made once: a chat completion and an SSE stream, in the framing
// of HTTP/1.1 and plain for HTTP/2.
//
// The completion is 1.2 kB, or the bytes of a file; the stream is `events` deltas, a usage event
// and [DONE]. Memory: each text twice. Not changed after construction. Example:
//   const Answers answers(20, "");
//   out += answers.h1_answer;
#pragma once

#include <string>

namespace sluiceway::bench {

struct Answers {
  // `body_file` is what stands in for the completion, "" for none. An unreadable file is an empty
  // answer.
  Answers(int event_count, const std::string& body_file);

  int events;                     // of a stream
  std::string body, stream_text;  // HTTP/2: what DATA frames carry; at most 10,000 events
  std::string h1_answer;          // head and body
  std::string h1_stream_head;     // then `events` times h1_delta, then h1_stream_end
  std::string h1_delta;           // one chunk
  std::string h1_stream_end;      // the chunks of usage and [DONE], and the last one
};

}  // namespace sluiceway::bench
