// HTTP/2 by nghttp2: every request is answered from the canned texts. See protocol.h.
//
// Source: nghttp2's documentation of the server session, 1.52; RFC 9113 for the settings.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "protocol.h"

namespace sluiceway::bench {
namespace {

constexpr std::uint32_t kStreamsMax = 100;
constexpr std::int32_t kWindowBytes = 1 << 20;  // uploads shall not wait for WINDOW_UPDATE

class Http2 : public Protocol {
 public:
  explicit Http2(const Answers& answers) : answers_(answers) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, &Http2::on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Http2::on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Http2::on_close);
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreamsMax},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 16 * kWindowBytes);
  }
  ~Http2() override { nghttp2_session_del(session_); }
  Http2(const Http2&) = delete;
  Http2& operator=(const Http2&) = delete;

  bool receive(std::string_view bytes) override {
    const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    if (nghttp2_session_mem_recv(session_, data, bytes.size()) < 0) return false;
    const std::uint8_t* frame = nullptr;
    for (;;) {
      const ssize_t size = nghttp2_session_mem_send(session_, &frame);
      if (size < 0) return false;
      if (size == 0) break;
      out.append(reinterpret_cast<const char*>(frame), static_cast<std::size_t>(size));
    }
    return nghttp2_session_want_read(session_) != 0 || !out.empty();
  }

 private:
  // What a stream is still to send: a part of one of the canned texts.
  struct Answer {
    bool wants_stream = false;
    std::string_view left;
  };

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* self) {
    if (name_size != 5 || std::memcmp(name, ":path", 5) != 0) return 0;
    const std::string_view path(reinterpret_cast<const char*>(value), value_size);
    static_cast<Http2*>(self)->streams_[frame->hd.stream_id].wants_stream =
        path.find("stream") != std::string_view::npos;
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
    const bool carries = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!carries || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    auto& http = *static_cast<Http2*>(self);
    Answer& answer = http.streams_[frame->hd.stream_id];
    const Answers& texts = http.answers_;
    answer.left = answer.wants_stream ? texts.stream_text : texts.body;
    const std::string length = std::to_string(answer.left.size());
    const std::string_view kind = answer.wants_stream ? "text/event-stream" : "application/json";
    const nghttp2_nv head[] = {pair(":status", "200"), pair("content-type", kind),
                               pair("x-request-id", "bench"), pair("content-length", length)};
    nghttp2_data_provider provider{};
    provider.source.ptr = &answer;  // a map's node stays where it is until the stream is closed
    provider.read_callback = &Http2::read;
    return nghttp2_submit_response(session, frame->hd.stream_id, head, 4, &provider);
  }

  static nghttp2_nv pair(std::string_view name, std::string_view value) {
    return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
            value.size(), NGHTTP2_NV_FLAG_NONE};
  }

  static ssize_t read(nghttp2_session*, std::int32_t, std::uint8_t* buffer, std::size_t room,
                      std::uint32_t* flags, nghttp2_data_source* source, void*) {
    std::string_view& left = static_cast<Answer*>(source->ptr)->left;
    const std::size_t taken = std::min(room, left.size());
    std::memcpy(buffer, left.data(), taken);
    left.remove_prefix(taken);
    if (left.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(taken);
  }

  static int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t, void* self) {
    static_cast<Http2*>(self)->streams_.erase(stream);
    return 0;
  }

  const Answers& answers_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<std::int32_t, Answer> streams_;
};

}  // namespace

std::unique_ptr<Protocol> make_http2(const Answers& answers) {
  return std::make_unique<Http2>(answers);
}

}  // namespace sluiceway::bench
