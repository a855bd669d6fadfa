// One easy handle: see curl_easy.h. Source: curl_easy_setopt(3) and the pages of each option.
#include "http/curl_easy.h"

#include <curl/curl.h>
#include <curl/header.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "http/curl_callbacks.h"
#include "http/curl_codes.h"
#include "http/curl_handles.h"
#include "http/curl_watch.h"
#include "http/origin.h"
#include "http/tls_config.h"

namespace sluiceway::http {
namespace {

constexpr long kConnectionLifeS = 600;

// The library's default of 64 kB makes malloc tidy up its heap at every free of one (once a
// request), so only bodies from files have it.
constexpr long kUploadBufferBytes = 16'384, kFileBufferBytes = 65'536;

// Whole seconds for CURLOPT_MAXAGE_CONN, which lets a connection live until it is older than that
// many seconds, counted in whole ones: n means "younger than n + 1".
long reuse_age_s(std::int64_t idle_reuse_max_ns) {
  return static_cast<long>(std::min<std::int64_t>(idle_reuse_max_ns / 1'000'000'000, 86'400)) - 1;
}

// Since 8.22 the library looks at most once a second whether an idle connection still stands
// (curl/curl#22169), and would send on one that was closed since: doubt, where a fresh connection
// has none. Whether such a connection may be among the origin's.
bool may_meet_closed(const Origin& origin, std::int64_t now_ns) {
  if (origin.idle_closed_ns == 0) return false;
  static const bool seldom = curl_version_info(CURLVERSION_NOW)->version_num >= 0x081600;
  constexpr std::int64_t kLookedNs = 1'100'000'000;
  return seldom && now_ns - origin.idle_closed_ns < kLookedNs;
}

}  // namespace

Transfer::Transfer(Poller& sockets, Origin& of, void* share)
    : easy(curl_easy_init()), poller(sockets), origin(of) {
  error_text_[0] = '\0';
  if (easy == nullptr) return;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // a cancel during DNS does not wait for it
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  set_callbacks(*this);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);  // ours: content_decoder.h
  // So that a name's new address is found under steady use, too.
  curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, kConnectionLifeS);
  if (share != nullptr) curl_easy_setopt(easy, CURLOPT_SHARE, share);
}

Transfer::~Transfer() {
  if (easy == nullptr) return;
  watch(Watch::kOff);
  curl_easy_cleanup(easy);
}

TransferError Transfer::prepare(std::uint64_t new_id, Request* new_request, Sink* new_sink,
                                std::int64_t started_at_ns, std::string* problem) {
  id = new_id;
  request = new_request;
  sink = new_sink;
  started_ns = started_at_ns;
  paid = request->paid;
  request_started = resend_stopped = opened_socket = expects_connection = false;
  head_given = too_large = cancelled = pause_wanted = paused = resume_listed = false;
  refused_stream = told_h2 = body_begun_ = false;
  stream_id = connection_id = 0;
  opened_count = server_streams = 0;
  received = 0;
  body_offset = 0;
  parts.start(request->parts.get());
  body_changed = false;
  taken_bytes = taken_ns = 0;
  decoding_.reset();
  coding_problem_.clear();
  error_text_[0] = '\0';

  if (!valid_header_name(request->method)) {  // a method is a token as well
    *problem = "the method is not a token";
    return TransferError::kInvalidRequest;
  }
  for (const Header& header : request->extra_headers) {
    if (Status status = check_header(header); !status.ok()) {
      *problem = to_std(status.message());
      return TransferError::kInvalidRequest;
    }
  }
  if (request->parts != nullptr) {
    if (const std::string* name = request->parts->changed_file(); name != nullptr) {
      *problem = "the file '" + *name + "' was changed after the call was made";
      return TransferError::kBodyChanged;
    }
  }
  if (!applied_.origin_options) set_origin_options();
  if (applied_.url != request->url) {
    applied_.url = request->url;
    curl_easy_setopt(easy, CURLOPT_CURLU, static_cast<CURLU*>(applied_.url->handle().url));
  }
  const bool has_body = request->body_bytes() > 0;
  set_sending();
  bool fits = set_method(request->method, has_body) && set_headers();
  // A paid request that has nothing to rewind must not meet a connection that may be dead.
  set_connection((paid && (!has_body || may_meet_closed(origin, started_ns))) ||
                 request->idle_reuse_max_ns < 2'000'000'000);
  if (!fits) *problem = "out of memory";
  return fits ? TransferError::kNone : TransferError::kInternal;
}

bool Transfer::set_method(const std::string& method, bool has_body) {
  bool fits = true;
  if (applied_.method != method || applied_.has_body != has_body) {
    const bool post = has_body || method == "POST";
    const bool head = method == "HEAD" && !has_body;
    curl_easy_setopt(easy, CURLOPT_NOBODY, head ? 1L : 0L);
    if (!head) curl_easy_setopt(easy, post ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    const bool plain = head || method == (post ? "POST" : "GET");
    fits =
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, plain ? nullptr : method.c_str()) == CURLE_OK;
    applied_.method = method;
    applied_.has_body = has_body;
  }
  const std::int64_t bytes = request->body_bytes();
  if (applied_.body_bytes != bytes) {
    applied_.body_bytes = bytes;
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(bytes));
  }
  return fits;
}

void Transfer::set_sending() {
  const long buffer = request->parts != nullptr ? kFileBufferBytes : kUploadBufferBytes;
  if (applied_.upload_buffer != buffer) {
    applied_.upload_buffer = buffer;
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, buffer);
  }
  if (applied_.watch_sending == request->watch_sending) return;
  applied_.watch_sending = request->watch_sending;
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, request->watch_sending ? 0L : 1L);
}

Sending Transfer::sending() const {
  Sending out;
  out.started = request_started;
  out.last_ns = taken_ns;
  curl_off_t sent = 0;
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  long status = 0;  // an answer has begun: what it says is what counts from here on
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  out.ended = head_given || status >= 200 || (request_started && sent >= request->body_bytes());
  return out;
}

bool Transfer::set_headers() {
  applied_.headers = request->headers;  // keeps the shared list alive
  const curl_slist* list =
      (applied_.headers != nullptr ? *applied_.headers : empty_header_set()).list().head;
  if (const std::size_t count = request->extra_headers.size(); count != 0) {
    // Nodes of our own in front of the shared ones: nothing is copied but this call's headers.
    extra_lines_.resize(count);
    extra_nodes_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      extra_lines_[i] = header_line(request->extra_headers[i]);
      extra_nodes_[i].data = extra_lines_[i].data();
      extra_nodes_[i].next = i + 1 < count ? &extra_nodes_[i + 1] : const_cast<curl_slist*>(list);
    }
    list = extra_nodes_.data();
  }
  if (applied_.list == list) return true;
  applied_.list = list;
  return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list) == CURLE_OK;
}

void Transfer::set_connection(bool fresh) {
  if (applied_.fresh != fresh) {
    applied_.fresh = fresh;
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
  }
  const bool multiplex = origin.protocol() != Origin::Protocol::kHttp1;
  long version = CURL_HTTP_VERSION_1_1;
  if (multiplex || !origin.settled()) {
    version = applied_.url->tls() ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
  }
  if (applied_.version != (multiplex ? version + 1000 : version)) {
    applied_.version = multiplex ? version + 1000 : version;
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, multiplex ? 1L : 0L);
  }
  const long age_s = std::max(1L, reuse_age_s(request->idle_reuse_max_ns));
  if (applied_.age_s != age_s) {
    applied_.age_s = age_s;
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, age_s);
  }
  const long connect_ms = static_cast<long>(
      std::clamp<std::int64_t>((request->connect_timeout_ns + 999'999) / 1'000'000, 1, 86'400'000));
  if (applied_.connect_ms != connect_ms) {
    applied_.connect_ms = connect_ms;
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
  }
  if (applied_.head_at_once != request->head_at_once) {
    applied_.head_at_once = request->head_at_once;
    call_back_at_head(*this, applied_.head_at_once);
  }
}

// What all requests of an origin share, since it is part of the origin's key.
void Transfer::set_origin_options() {
  applied_.origin_options = true;
  curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy.c_str());  // "": not even the environment's
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
  if (!request->unix_socket.empty()) {
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket.c_str());
  }
  if (!request->url->tls() && request->proxy.rfind("https:", 0) != 0) return;
  tls_ = request->tls;
  static const TlsConfig* defaults = new TlsConfig;
  const TlsConfig& tls = tls_ != nullptr ? *tls_ : *defaults;
  std::string file = tls.ca_file, dir = tls.ca_dir;
  if (file.empty() && dir.empty()) {
    file = system_trust_store().file;
    dir = system_trust_store().dir;
  }
  if (!file.empty() || !dir.empty()) {
    for (CURLoption option : {CURLOPT_CAINFO, CURLOPT_PROXY_CAINFO}) {
      curl_easy_setopt(easy, option, file.empty() ? nullptr : file.c_str());
    }
    for (CURLoption option : {CURLOPT_CAPATH, CURLOPT_PROXY_CAPATH}) {
      curl_easy_setopt(easy, option, dir.empty() ? nullptr : dir.c_str());
    }
  }
  if (!tls.client_cert.empty()) curl_easy_setopt(easy, CURLOPT_SSLCERT, tls.client_cert.c_str());
  if (!tls.client_key.empty()) curl_easy_setopt(easy, CURLOPT_SSLKEY, tls.client_key.c_str());
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
}

void Transfer::watch(Watch how) {
  if (watched == how) return;
  if (how == Watch::kFrames) trace_frames(true);
  if (watched == Watch::kFrames) trace_frames(false);
  watched = how;
  curl_easy_setopt(easy, CURLOPT_VERBOSE, how != Watch::kOff ? 1L : 0L);
}

bool Transfer::was_refused() const {
  if (refused_stream) return true;
  if (stream_id == 0) return false;
  for (const Origin::Goaway& goaway : origin.goaways) {
    if (goaway.shard_serial == shard_serial && goaway.connection_id == connection_id &&
        stream_id > goaway.last_stream) {
      return true;
    }
  }
  return false;
}

bool resets_are_late() {
  static const bool late = curl_version_info(CURLVERSION_NOW)->version_num < 0x080f00;
  return late;
}

void Transfer::give_up() {
  if (resets_are_late()) curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

void Transfer::detach() {
  cancelled = true;
  request = nullptr;
  sink = nullptr;
}

bool Transfer::give_head() {
  long status = 0, header_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &header_bytes);
  if (static_cast<std::size_t>(header_bytes) > request->header_bytes_max) {
    too_large = true;
    return false;
  }
  head_given = true;
  sink->on_head(static_cast<int>(status), *this);
  return !cancelled;
}

std::optional<std::string_view> Transfer::find(std::string_view name) const {
  char text[128];
  if (name.size() >= sizeof text) return std::nullopt;
  std::memcpy(text, name.data(), name.size());
  text[name.size()] = '\0';
  curl_header* header = nullptr;
  if (curl_easy_header(easy, text, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return std::nullopt;
  return std::string_view(header->value);
}

std::int64_t Transfer::content_length() const {
  curl_off_t length = -1;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  return length;
}

void Transfer::for_each(
    const std::function<void(std::string_view, std::string_view)>& visit) const {
  curl_header* header = nullptr;
  while ((header = curl_easy_nextheader(easy, CURLH_HEADER, -1, header)) != nullptr) {
    visit(header->name, header->value);
  }
}

bool Transfer::complete(long status) const {
  if (status == 204 || status == 304 || applied_.method == "HEAD") return true;
  long version = 0;
  curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
  if (version >= CURL_HTTP_VERSION_2_0) return true;  // the library saw END_STREAM
  curl_off_t length = -1;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length >= 0) return true;
  const auto encoding = find("Transfer-Encoding");
  return encoding.has_value() && encoding->size() >= 7 &&
         equals_ignore_case(encoding->substr(encoding->size() - 7), "chunked");
}

TransferEnd Transfer::end(int curl_code, std::int64_t now_ns) {
  TransferEnd out;
  long status = 0, version = 0, connects = 0, header_bytes = 0;
  curl_off_t resolve_us = 0, first_us = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
  curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
  out.request_started = request_started;
  out.response_started = status >= 200;
  out.status = out.response_started ? static_cast<int>(status) : 0;
  out.http_version = version == CURL_HTTP_VERSION_2_0   ? 20
                     : version == CURL_HTTP_VERSION_1_1 ? 11
                     : version == CURL_HTTP_VERSION_1_0 ? 10
                                                        : 0;
  out.connection_reused = request_started && connects == 0;
  out.response_bytes = received;
  out.queued_ns = added_ns - started_ns;
  if (first_us > 0 && out.response_started) out.first_byte_ns = out.queued_ns + first_us * 1'000;
  out.total_ns = now_ns - started_ns;
  if (connects > 0 && request_started) {
    curl_off_t connect_us = 0;
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &connect_us);
    out.connected_ns = out.queued_ns + connect_us * 1'000;
  }
  if (curl_code == CURLE_OK && decoding_ != nullptr && !decoding_->decoder->whole()) {
    out.error = TransferError::kPartialBody;
    out.detail = "the body ends in the middle of its content coding";
    return out;
  }
  if (curl_code == CURLE_OK) {
    out.complete = complete(status);
    return out;
  }
  curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &resolve_us);
  curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &header_bytes);
  if (!out.response_started && was_refused()) {
    out.error = TransferError::kRefusedStream;
    out.detail = "the server has not processed the stream";
    return out;
  }
  if (body_changed) {
    out.error = TransferError::kBodyChanged;
    out.detail = parts.problem();
    return out;
  }
  if (resend_stopped || curl_code == CURLE_SEND_FAIL_REWIND) {
    out.error = TransferError::kNotRewindable;
    out.detail = "the connection failed under a request that must not be sent twice";
    return out;
  }
  if (!coding_problem_.empty()) {
    out.error = TransferError::kProtocol;
    out.detail = coding_problem_;
    return out;
  }
  if (too_large || (request != nullptr && request_started &&
                    static_cast<std::size_t>(header_bytes) > request->header_bytes_max)) {
    out.error = TransferError::kTooLarge;
  } else {
    out.error = transfer_error_of(curl_code, request_started, resolve_us > 0);
  }
  out.detail =
      error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(static_cast<CURLcode>(curl_code));
  if (too_large) out.detail = "the answer is larger than is taken";
  return out;
}

}  // namespace sluiceway::http
