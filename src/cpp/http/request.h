// What is sent: a URL, headers and a body, prepared once and shared by many calls.
//
// Url and HeaderSet are immutable and hold what the transport's library wants to have ready (a
// parsed handle, a linked list), so that a call pays for neither; they may be shared by all
// threads. A Request is one transfer's order. Nothing here does I/O or reads a clock. Memory: a Url
// about 1 kB, a HeaderSet its text and 64 bytes a header. Example:
//   auto url = Url::parse("https://api.example.com/v1/chat/completions");      // StatusOr
//   auto set = HeaderSet::make({{"Authorization", "Bearer sk-fake"}});
//   Request request; request.url = *url; request.headers = *set; request.body = json;
// Source: RFC 9110 (field names and values: sections 5.1, 5.5), RFC 3986.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "http/body.h"

namespace sluiceway::http {

struct Header {
  std::string name, value;
};

// Whether the name is a token of RFC 9110, and whether the value holds no CR, LF or NUL.
bool valid_header_name(std::string_view name);
bool valid_header_value(std::string_view value);

// An absolute http or https URL without credentials and without a fragment. kInvalidArgument says
// what is wrong.
class Url {
 public:
  struct Handle;  // the library's parsed form; only this room knows it

  static StatusOr<std::shared_ptr<const Url>> parse(std::string_view text);
  ~Url();
  Url(const Url&) = delete;
  Url& operator=(const Url&) = delete;

  const std::string& text() const { return text_; }      // as the library writes it
  const std::string& origin() const { return origin_; }  // scheme://host:port, port always there
  const std::string& host() const { return host_; }      // IPv6 in brackets
  bool tls() const { return tls_; }
  const Handle& handle() const { return *handle_; }

 private:
  Url();
  std::unique_ptr<Handle> handle_;
  std::string text_, origin_, host_;
  bool tls_ = false;
};

// Headers that many calls share, in order, repeats allowed. A value may be empty. Refused with
// kInvalidArgument: names that are not tokens, CR, LF or NUL anywhere, and the fields that frame
// the message (Content-Length, Transfer-Encoding, Connection, Expect and the like), which are the
// transport's. The library's own additions (Accept, Accept-Encoding, Expect, Content-Type of a
// form) are switched off.
class HeaderSet {
 public:
  struct List;

  static StatusOr<std::shared_ptr<const HeaderSet>> make(std::vector<Header> headers);
  ~HeaderSet();
  HeaderSet(const HeaderSet&) = delete;
  HeaderSet& operator=(const HeaderSet&) = delete;

  const std::vector<Header>& entries() const { return entries_; }
  const List& list() const { return *list_; }

 private:
  HeaderSet();
  std::vector<Header> entries_;
  std::unique_ptr<List> list_;
};

// Whether HeaderSet::make and Request::extra_headers would take it.
Status check_header(const Header& header);

// Empty ca_file and ca_dir: the machine's trust store, see tls_config.h. Paths of PEM files.
struct TlsConfig {
  std::string ca_file, ca_dir, client_cert, client_key;
  bool verify = true;
};

enum class HttpVersion : std::uint8_t {
  kAuto,   // over TLS what ALPN agrees on (HTTP/2 or 1.1), else HTTP/1.1
  kHttp1,  // HTTP/1.1 only
  kHttp2,  // HTTP/2; without TLS with prior knowledge
};

// One transfer's order. It must not change or go away between start() and on_end or cancel(), but
// for response_bytes_max, which on_head may raise.
struct Request {
  std::string method = "POST";
  std::shared_ptr<const Url> url;            // required
  std::shared_ptr<const HeaderSet> headers;  // null: none
  std::vector<Header> extra_headers;         // this call's own; sent before `headers`
  std::string body;
  std::shared_ptr<const Body> parts;  // null: `body`; else sent in its place, and never rewound
  bool paid =
      true;  // never sent twice by the transport; false: it may repeat it on a dead connection
  HttpVersion version = HttpVersion::kAuto;
  std::shared_ptr<const TlsConfig> tls;  // null: the default configuration; compared by pointer
  std::string proxy;        // "" none (the environment is not read); http://, https://, socks5h://
  std::string unix_socket;  // "" none; the path of a socket to connect to instead of the host
  std::int64_t pool_timeout_ns = 0;                  // for a place at the origin; <= 0: no limit
  std::int64_t connect_timeout_ns = 10'000'000'000;  // DNS, TCP, TLS, proxy together; > 0
  // An idle connection of this origin that is older is not used again. Whole seconds, rounded down;
  // below one second every call has a new connection.
  std::int64_t idle_reuse_max_ns = 4'000'000'000;
  std::size_t response_bytes_max = 64u << 20;  // body, decoded; above: kTooLarge
  std::size_t header_bytes_max = 64u << 10;    // all header lines of the answer; at most 300 kB
  // Undo the answer's Content-Encoding: response_bytes_max then bounds what comes out of it. What
  // is asked for is the caller's header; without one the answer should not be compressed.
  bool decode = true;
  // on_head comes when the head is complete instead of together with the first body byte. It costs
  // a callback per header line; the calls that do not care leave it off.
  bool head_at_once = false;
  // Keep the time at which the connection last took a byte of the request, for
  // Transport::sending(). It costs a callback per piece sent; without it sending() may tell of an
  // earlier time.
  bool watch_sending = false;

  std::int64_t body_bytes() const {
    return parts != nullptr ? parts->size() : static_cast<std::int64_t>(body.size());
  }
};

}  // namespace sluiceway::http
