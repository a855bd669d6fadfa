// Sockets and OpenSSL; see the header. Source: OpenSSL 3.0's manual pages of SSL_read, SSL_write
// and SSL_CTX_set_alpn_select_cb; RFC 7301.
#include "transport.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluiceway::bench {
namespace {

constexpr long kValidS = 24 * 3600;

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "bench_server: %s failed\n", what);
  ERR_print_errors_fp(stderr);
  std::exit(1);
}

class Plain : public Transport {
 public:
  explicit Plain(int fd) : fd_(fd) {}

  ssize_t read(char* bytes, std::size_t room) override {
    const ssize_t n = ::recv(fd_, bytes, room, 0);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? kLater : kGone;
  }
  ssize_t write(const char* bytes, std::size_t size) override {
    const ssize_t n = ::send(fd_, bytes, size, MSG_NOSIGNAL);
    return n > 0 ? n : n == 0 || errno == EAGAIN ? kLater : kGone;
  }

 private:
  const int fd_;
};

class Tls : public Transport {
 public:
  Tls(SSL_CTX* context, int fd) : ssl_(SSL_new(context)) {
    require(ssl_ != nullptr && SSL_set_fd(ssl_, fd) == 1, "SSL_new");
    SSL_set_accept_state(ssl_);
  }
  ~Tls() override { SSL_free(ssl_); }
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  ssize_t read(char* bytes, std::size_t room) override {
    ERR_clear_error();
    return result(SSL_read(ssl_, bytes, static_cast<int>(room)));
  }
  ssize_t write(const char* bytes, std::size_t size) override {
    ERR_clear_error();
    return result(SSL_write(ssl_, bytes, static_cast<int>(size)));
  }
  bool holds_more() const override { return SSL_has_pending(ssl_) == 1; }
  bool is_http2() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return size == 2 && std::memcmp(name, "h2", 2) == 0;
  }

 private:
  ssize_t result(int n) const {
    if (n > 0) return n;
    const int error = SSL_get_error(ssl_, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? kLater : kGone;
  }

  SSL* ssl_;
};

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void* http2) {
  static constexpr unsigned char kBoth[] = "\x02h2\x08http/1.1";
  const unsigned char* ours = http2 != nullptr ? kBoth : kBoth + 3;
  const unsigned size = http2 != nullptr ? 12 : 9;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, ours, size, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

void extend(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value);
  X509_EXTENSION_free(extension);
}

// A certificate that signs itself: what the clients trust and what the server shows are one.
X509* make_certificate(EVP_PKEY* key) {
  X509* made = X509_new();
  require(made != nullptr, "X509_new");
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
  X509_gmtime_adj(X509_getm_notBefore(made), -kValidS);
  X509_gmtime_adj(X509_getm_notAfter(made), kValidS);
  X509_set_pubkey(made, key);
  X509_NAME* name = X509_get_subject_name(made);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("bench_server"), -1, -1, 0);
  X509_set_issuer_name(made, name);
  extend(made, NID_basic_constraints, "critical,CA:TRUE");
  extend(made, NID_key_usage, "critical,digitalSignature,keyCertSign");
  extend(made, NID_subject_key_identifier, "hash");
  extend(made, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  require(X509_sign(made, key, EVP_sha256()) != 0, "X509_sign");
  return made;
}

std::string write_pem(X509* certificate) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/bench-server-XXXXXX";
  const int fd = ::mkstemp(path.data());
  FILE* file = fd < 0 ? nullptr : ::fdopen(fd, "w");
  require(file != nullptr && PEM_write_X509(file, certificate) == 1, "writing the certificate");
  std::fclose(file);
  return path;
}

}  // namespace

std::unique_ptr<Transport> plain_transport(int fd) { return std::make_unique<Plain>(fd); }

TlsContext::TlsContext(bool http2) : context_(SSL_CTX_new(TLS_server_method())) {
  require(context_ != nullptr, "SSL_CTX_new");
  EVP_PKEY* key = EVP_EC_gen("P-256");
  require(key != nullptr, "EVP_EC_gen");
  X509* certificate = make_certificate(key);
  path_ = write_pem(certificate);
  require(SSL_CTX_use_certificate(context_, certificate) == 1, "SSL_CTX_use_certificate");
  require(SSL_CTX_use_PrivateKey(context_, key) == 1, "SSL_CTX_use_PrivateKey");
  X509_free(certificate);
  EVP_PKEY_free(key);
  SSL_CTX_set_read_ahead(context_, 1);
  SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context_, &choose_protocol, http2 ? this : nullptr);
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

std::unique_ptr<Transport> TlsContext::accept(int fd) const {
  return std::make_unique<Tls>(context_, fd);
}

}  // namespace sluiceway::bench
