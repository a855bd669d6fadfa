// The search for the machine's certificates: see tls_config.h.
#include "http/tls_config.h"

#include <sys/stat.h>

#include <cstdlib>

namespace sluiceway::http {

TrustStore find_trust_store(const char* (*environment)(const char* name),
                            bool (*exists)(const std::string& path)) {
  const auto given = [&](const char* name) -> std::string {
    const char* value = environment(name);
    return value != nullptr && *value != '\0' && exists(value) ? value : "";
  };
  TrustStore store{given("SSL_CERT_FILE"), given("SSL_CERT_DIR")};
  if (!store.file.empty() || !store.dir.empty()) return store;
  store.file = given("CURL_CA_BUNDLE");
  if (!store.file.empty()) return store;
  for (const char* path : {
           "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
           "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL
           "/etc/pki/tls/certs/ca-bundle.crt",                   // older Fedora, RHEL, CentOS
           "/etc/ssl/ca-bundle.pem",                             // SUSE
           "/etc/ssl/cert.pem",                                  // Alpine
       }) {
    if (exists(path)) {
      store.file = path;
      return store;
    }
  }
  if (exists("/etc/ssl/certs")) store.dir = "/etc/ssl/certs";
  return store;
}

const TrustStore& system_trust_store() {
  static const auto* store = new TrustStore(
      find_trust_store([](const char* name) -> const char* { return std::getenv(name); },
                       [](const std::string& path) {
                         struct stat info{};
                         return ::stat(path.c_str(), &info) == 0;
                       }));
  return *store;
}

}  // namespace sluiceway::http
