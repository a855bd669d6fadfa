// HTTP/1.1 keep-alive: as little as answers requests of a known shape. See protocol.h.
#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "protocol.h"

namespace sluiceway::bench {
namespace {

class Http1 : public Protocol {
 public:
  Http1(const Answers& answers, bool spaced) : answers_(answers), spaced_(spaced) {}

  bool receive(std::string_view bytes) override {
    // The body of a large request passes through without being kept.
    if (in_.empty() && in_body_ && bytes.size() <= body_left_) {
      body_left_ -= bytes.size();
    } else {
      in_.append(bytes);
    }
    while (take_request()) {
    }
    return true;
  }

  bool tick() override {
    if (events_left_ == 0) return false;
    out += answers_.h1_delta;
    if (--events_left_ > 0) return true;
    out += answers_.h1_stream_end;
    return false;
  }

 private:
  // Takes one whole request from in_; false when there is none.
  bool take_request() {
    if (!in_body_) {
      const std::size_t end = in_.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      const std::string_view head(in_.data(), end + 2);
      wants_stream_ = head.substr(0, head.find('\r')).find("stream") != std::string_view::npos;
      body_left_ = 0;
      for (const char* name : {"Content-Length: ", "content-length: "}) {
        const std::size_t at = head.find(name);
        if (at != std::string_view::npos) {
          body_left_ = std::strtoull(head.data() + at + 16, nullptr, 10);
        }
      }
      in_.erase(0, end + 4);
      in_body_ = true;
    }
    const std::size_t taken = std::min(body_left_, in_.size());
    in_.erase(0, taken);
    body_left_ -= taken;
    if (body_left_ > 0) return false;
    in_body_ = false;
    if (wants_stream_) {
      begin_stream();
    } else {
      out += answers_.h1_answer;
    }
    return true;
  }

  void begin_stream() {
    out += answers_.h1_stream_head;
    if (spaced_) {
      events_left_ = answers_.events;
      wants_ticks = true;
      return;
    }
    for (int i = 0; i < answers_.events; ++i) out += answers_.h1_delta;
    out += answers_.h1_stream_end;
  }

  const Answers& answers_;
  std::string in_;
  std::size_t body_left_ = 0;  // of the request that is being read
  int events_left_ = 0;        // of the stream that is being sent
  bool in_body_ = false, wants_stream_ = false;
  const bool spaced_;
};

}  // namespace

std::unique_ptr<Protocol> make_http1(const Answers& answers, bool spaced) {
  return std::make_unique<Http1>(answers, spaced);
}

}  // namespace sluiceway::bench
