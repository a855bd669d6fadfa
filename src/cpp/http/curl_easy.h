// One easy handle and the transfer it carries: options in, callbacks out, the end read back.
//
// Handles are pooled by origin, so nearly every option is already as the next call wants it; only
// what differs is set again. The callbacks run inside libcurl: they copy the body out of the
// request, hand data to the sink, and keep the proof of what was sent. About 8 kB. Engine thread
// only.
//
// The no-re-send rule is kept twice: the body's seek callback fails for paid requests, so libcurl
// cannot rewind (CURLE_SEND_FAIL_REWIND); and the pre-request callback, which libcurl calls each
// time it is about to send on a connection, refuses the second call for a paid request. Requests
// without a body, which have nothing to rewind, also get a connection of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "http/content_decoder.h"
#include "http/poller.h"
#include "http/transport.h"

struct curl_slist;  // NOLINT(readability-identifier-naming): the library's name

namespace sluiceway::http {

// How closely the library's log is read: not at all, its few lines a call, every frame.
enum class Watch : std::uint8_t { kOff, kLines, kFrames };

struct Transfer final : public HeaderSource {
  // `share`: the library's share handle of name look-ups, or null. Check easy for null afterwards.
  Transfer(Poller& sockets, Origin& of, void* share);
  ~Transfer() override;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Sets the handle up for `new_request` and forgets the last one. kInvalidRequest in the result
  // when its parts cannot be sent; `problem` says why.
  TransferError prepare(std::uint64_t new_id, Request* new_request, Sink* new_sink,
                        std::int64_t started_at_ns, std::string* problem);
  // Reads the end of a finished transfer. `curl_code` is a CURLcode.
  TransferEnd end(int curl_code, std::int64_t now_ns);
  Sending sending() const;
  // Lets go of the caller's objects: no sink call and no look at the request after it.
  void detach();
  // Lets the library report on this transfer from now on.
  void watch(Watch how);
  // Whether the server has said that it has not processed this request.
  bool was_refused() const;
  // on_head, once. False: stop (too large, or cancelled in the callback).
  bool give_head();
  // A piece of the body as it came. What is taken of it: all, or what a write callback answers to
  // stop or to pause; a piece that was paused is given again from its beginning.
  std::size_t take_body(std::string_view piece);
  std::size_t pause_here();  // the same answer, for the whole piece
  // It ends before its time: its stream on a connection that others use is reset, and a connection
  // of its own is closed.
  void give_up();

  std::optional<std::string_view> find(std::string_view name) const override;
  std::int64_t content_length() const override;
  void for_each(
      const std::function<void(std::string_view, std::string_view)>& visit) const override;

  // Fixed.
  void* easy = nullptr;
  Poller& poller;
  Origin& origin;

  // This transfer.
  std::uint64_t id = 0;
  Request* request = nullptr;
  Sink* sink = nullptr;
  Shard* shard = nullptr;
  int shard_index = 0;
  std::size_t running_index = 0;  // in the transport's list of transfers on the wire
  bool paid = true;
  bool request_started = false;     // the pre-request callback ran
  bool resend_stopped = false;      // it ran again and was refused
  bool opened_socket = false;       // a connection was made for it
  bool expects_connection = false;  // see Origin::added
  bool head_given = false, too_large = false, cancelled = false;
  Watch watched = Watch::kOff;     // what the library reports on it, see curl_watch.h
  bool refused_stream = false;     // it said that the server has not processed the request
  std::int64_t stream_id = 0;      // of HTTP/2, as it said; 0: not told
  std::int64_t connection_id = 0;  // with stream_id; unique in the shard
  std::uint64_t shard_serial = 0;  // which shard that is
  bool told_h2 = false;            // it said that HTTP/2 was agreed on
  int server_streams = 0;          // it said what the server takes, before the connection stood
  bool pause_wanted = false, paused = false, resume_listed = false;
  std::int64_t started_ns = 0, added_ns = 0;
  std::uint64_t received = 0;
  std::size_t body_offset = 0;
  BodyReader parts;              // in place of body_offset, where the request has parts
  bool body_changed = false;     // a file of it: parts.problem()
  std::int64_t taken_bytes = 0;  // of the body by the connection, as last told
  std::int64_t taken_ns = 0;     // when it last took one, or stood; 0: not yet
  static constexpr int kOpenedMax = 8;
  int opened_fds[kOpenedMax] = {};  // sockets made for it, until its connection stands
  int opened_count = 0;

 private:
  bool set_method(const std::string& method, bool has_body);
  bool set_headers();
  void set_sending();
  void set_connection(bool fresh);
  void set_origin_options();
  bool complete(long status) const;
  bool start_decoding();

  struct Applied {  // what the handle is set to
    std::shared_ptr<const Url> url;
    std::shared_ptr<const HeaderSet> headers;
    const curl_slist* list = nullptr;
    std::string method;
    bool has_body = false, fresh = false, head_at_once = false, origin_options = false,
         watch_sending = false;
    std::int64_t body_bytes = -1;
    long upload_buffer = 0;
    long version = -1, age_s = -1, connect_ms = -1;
  } applied_;
  std::shared_ptr<const TlsConfig> tls_;
  std::vector<std::string> extra_lines_;
  std::vector<curl_slist> extra_nodes_;
  // The answer's coding. What came of it is counted as well as what comes out of it, and of a piece
  // that was paused in its middle what is used already.
  struct Decoding {
    std::unique_ptr<ContentDecoder> decoder;
    std::uint64_t coded = 0;
    std::size_t used = 0;
    char out[16'384];
  };
  std::unique_ptr<Decoding> decoding_;  // null: none, or the body has not begun
  bool body_begun_ = false;
  std::string coding_problem_;
  char error_text_[256];
};

// Before 8.15 the library keeps the RST_STREAM of a transfer that is taken out until its connection
// has something else to send (curl/curl#17638): meanwhile the server goes on, and bills.
bool resets_are_late();

}  // namespace sluiceway::http
