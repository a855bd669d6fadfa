// Where the machine keeps the certificates it trusts.
//
// A wheel's libcurl was built on another distribution, so its own default path may not exist here.
// Looked at in this order, the first that exists wins: SSL_CERT_FILE, SSL_CERT_DIR, CURL_CA_BUNDLE,
// the well-known bundles of the distributions, the library's own default (both empty). Looked up
// once, when first needed; the answer never changes afterwards. Safe for all threads. Source: the
// lists of Go's crypto/x509 root_linux.go and of certifi-win32 style finders name the same files:
// Debian /etc/ssl/certs/ca-certificates.crt, Fedora /etc/pki/tls/certs/ca-bundle.crt, SUSE
// /etc/ssl/ca-bundle.pem, Alpine /etc/ssl/cert.pem (read 2026-11-22).
#pragma once

#include <string>

namespace sluiceway::http {

struct TrustStore {
  std::string file, dir;  // PEM bundle; directory of hashed certificates
};

const TrustStore& system_trust_store();

// The same search with an environment and a file system of the caller's; for tests.
TrustStore find_trust_store(const char* (*environment)(const char* name),
                            bool (*exists)(const std::string& path));

}  // namespace sluiceway::http
