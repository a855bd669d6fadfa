// The event stream parser: see sse_parser.h.
//
// How it stays fast: the next LF and the next CR are looked for once each and remembered, so every
// byte is seen by two memchr passes and by no loop of ours. A value stays a view into the fed bytes
// until feed() returns; only what is still waiting then is copied (keep_views).
#include "parse/sse_parser.h"

#include <cstring>

#include "base/text.h"

namespace sluiceway::parse {
namespace {

// retry: above this many milliseconds (about 31 years) is kept at it.
constexpr std::int64_t kRetryMsMax = 1'000'000'000'000;

const char* find(const char* from, const char* end, char c) {
  if (from == end) return end;
  const void* at = std::memchr(from, c, static_cast<std::size_t>(end - from));
  return at == nullptr ? end : static_cast<const char*>(at);
}

}  // namespace

void SseParser::reset() {
  error_ = Status();
  line_.clear();
  data_buffer_.clear();
  type_buffer_.clear();
  id_.clear();
  retry_ms_ = -1;
  comments_ = events_ = 0;
  mark_bytes_ = 0;
  has_data_ = has_type_ = data_in_buffer_ = type_in_buffer_ = after_cr_ = false;
}

Status SseParser::fail(std::string_view what) {
  error_ = absl::ResourceExhaustedError(to_absl(what));
  return error_;
}

// The mark may arrive in pieces; bytes that turn out to be none become the start of the first line.
std::string_view SseParser::drop_byte_order_mark(std::string_view bytes) {
  while (mark_bytes_ < 3 && !bytes.empty()) {
    if (bytes[0] != kByteOrderMark[mark_bytes_]) {
      line_.append(kByteOrderMark.substr(0, mark_bytes_));
      mark_bytes_ = 3;
      break;
    }
    bytes.remove_prefix(1);
    ++mark_bytes_;
  }
  return bytes;
}

Status SseParser::feed(std::string_view bytes, SseHandler& handler) {
  if (!error_.ok()) return error_;
  if (mark_bytes_ < 3) bytes = drop_byte_order_mark(bytes);
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  if (after_cr_ && at != end) {
    if (*at == '\n') ++at;
    after_cr_ = false;
  }
  const char* lf = find(at, end, '\n');
  const char* cr = find(at, end, '\r');
  while (at != end) {
    if (lf < at) lf = find(at, end, '\n');
    if (cr < at) cr = find(at, end, '\r');
    const char* const stop = lf < cr ? lf : cr;
    std::string_view line(at, static_cast<std::size_t>(stop - at));
    if (line.size() + line_.size() > line_bytes_max_) return fail("event stream: line too long");
    if (stop == end) {
      line_.append(line);
      break;
    }
    at = stop + 1;
    if (stop == cr) {
      if (at == end) {
        after_cr_ = true;
      } else if (*at == '\n') {
        ++at;
      }
    }
    Status status;
    if (line_.empty()) {
      status = take_line(line, true, handler);
    } else {
      line_.append(line);
      status = take_line(line_, false, handler);
      line_.clear();
    }
    if (!status.ok()) return status;
  }
  keep_views();
  return Status();
}

Status SseParser::take_line(std::string_view line, bool in_fed_bytes, SseHandler& handler) {
  if (line.empty()) {
    deliver(handler);
    return Status();
  }
  if (line[0] == ':') {
    ++comments_;
    return Status();
  }
  std::string_view name = line, value;
  if (line.size() > 4 && std::memcmp(line.data(), "data:", 5) == 0) {
    name = line.substr(0, 4);  // the common case, without a search
    value = line.substr(5);
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    name = line.substr(0, colon);
    value = line.substr(colon + 1);
  }
  if (!value.empty() && value[0] == ' ') value.remove_prefix(1);
  if (name == "data") return add_data(value, in_fed_bytes);
  take_field(name, value, in_fed_bytes);
  return Status();
}

Status SseParser::add_data(std::string_view value, bool in_fed_bytes) {
  if (!has_data_) {
    has_data_ = true;
    data_in_buffer_ = !in_fed_bytes;
    if (value.size() > event_bytes_max_) return fail("event stream: event too large");
    if (in_fed_bytes) {
      data_view_ = value;
    } else {
      data_buffer_.assign(value);
    }
    return Status();
  }
  if (!data_in_buffer_) data_buffer_.assign(data_view_);
  data_in_buffer_ = true;
  if (data_buffer_.size() + 1 + value.size() > event_bytes_max_) {
    return fail("event stream: event too large");
  }
  data_buffer_ += '\n';
  data_buffer_.append(value);
  return Status();
}

void SseParser::take_field(std::string_view name, std::string_view value, bool in_fed_bytes) {
  if (name == "event") {
    // An empty type counts as none.
    has_type_ = !value.empty();
    type_in_buffer_ = !in_fed_bytes;
    if (in_fed_bytes) {
      type_view_ = value;
    } else {
      type_buffer_.assign(value);
    }
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) id_.assign(value);
  } else if (name == "retry") {
    std::int64_t retry_ms = 0;
    for (char c : value) {
      if (c < '0' || c > '9') return;
      if (retry_ms < kRetryMsMax) retry_ms = retry_ms * 10 + (c - '0');
    }
    if (!value.empty()) retry_ms_ = retry_ms < kRetryMsMax ? retry_ms : kRetryMsMax;
  }
}

void SseParser::deliver(SseHandler& handler) {
  if (has_data_) {
    ++events_;
    SseEvent event;
    event.type = "message";
    if (has_type_) event.type = type_in_buffer_ ? std::string_view(type_buffer_) : type_view_;
    event.data = data_in_buffer_ ? std::string_view(data_buffer_) : data_view_;
    event.id = id_;
    event.retry_ms = retry_ms_;
    handler.on_event(event);
  }
  has_data_ = has_type_ = data_in_buffer_ = type_in_buffer_ = false;
}

std::string_view SseParser::waiting_data() const {
  if (line_.empty()) return has_data_ ? std::string_view(data_buffer_) : std::string_view();
  if (has_data_ || !line_.starts_with("data:")) return {};
  std::string_view value = std::string_view(line_).substr(5);
  if (!value.empty() && value[0] == ' ') value.remove_prefix(1);
  return value;
}

void SseParser::keep_views() {
  if (has_data_ && !data_in_buffer_) {
    data_buffer_.assign(data_view_);
    data_in_buffer_ = true;
  }
  if (has_type_ && !type_in_buffer_) {
    type_buffer_.assign(type_view_);
    type_in_buffer_ = true;
  }
}

}  // namespace sluiceway::parse
