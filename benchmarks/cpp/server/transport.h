// The bytes of one connection: a socket, or TLS over it by OpenSSL.
//
// Model: read and write never block. A certificate for 127.0.0.1 is made when the context is (EC,
// P-256, its own authority, a day), so that clients verify as they would a provider's. ALPN picks
// h2 where the server was told to and the client offers it, else HTTP/1.1. One thread.
//
//   const TlsContext tls(/*http2=*/true);
//   auto transport = tls.accept(fd);
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

struct ssl_ctx_st;

namespace sluiceway::bench {

class Transport {
 public:
  static constexpr ssize_t kLater = -1, kGone = -2;

  virtual ~Transport() = default;
  // Bytes read or written (at least 1), kLater when the socket has to be waited for, kGone when the
  // connection is over.
  virtual ssize_t read(char* bytes, std::size_t room) = 0;
  virtual ssize_t write(const char* bytes, std::size_t size) = 0;
  // Whether read may have more without the socket becoming readable.
  virtual bool holds_more() const { return false; }
  // Whether ALPN agreed on HTTP/2; known once a read has returned bytes.
  virtual bool is_http2() const { return false; }
};

std::unique_ptr<Transport> plain_transport(int fd);

class TlsContext {
 public:
  // Makes the certificate and writes it, PEM, to a new file in $TMPDIR (else /tmp); ends the
  // process where that fails.
  explicit TlsContext(bool http2);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  std::unique_ptr<Transport> accept(int fd) const;
  const std::string& certificate_path() const { return path_; }

 private:
  ssl_ctx_st* context_ = nullptr;
  std::string path_;
};

}  // namespace sluiceway::bench
