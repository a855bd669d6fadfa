// SHA-256 through OpenSSL's EVP: see cache_key.h.
//
// EVP_Digest of 64 bytes takes about 440 ns, most of it looking the algorithm up and making a
// context; a fetched EVP_MD with a reused context takes 125 (measured, OpenSSL 3.0, 2026-11-22).
#include "cache/cache_key.h"

#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace sluiceway::cache {
namespace {

// The layout's version. A change of the layout changes the tag, so that no old key can be met.
constexpr std::string_view kTag = "sluiceway.cache.key.1";

// Never freed: threads may hash until the process ends.
const EVP_MD* sha256() {
  static const EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

void require(bool ok) {
  if (ok) return;
  std::fputs("sluiceway: OpenSSL cannot compute SHA-256\n", stderr);
  std::abort();
}

Sha256& thread_hash() {
  thread_local Sha256 hash;
  return hash;
}

// Eight bytes, the lowest first.
void append_length(std::string& out, std::uint64_t size) {
  char bytes[8];
  for (char& byte : bytes) {
    byte = static_cast<char>(size & 255);
    size >>= 8;
  }
  out.append(bytes, sizeof bytes);
}

void append_part(std::string& out, std::string_view part) {
  append_length(out, part.size());
  out.append(part);
}

}  // namespace

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require(context_->evp != nullptr && sha256() != nullptr);
  require(EVP_DigestInit_ex2(context_->evp, sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

CacheKey Sha256::finish() {
  CacheKey key;
  unsigned size = 0;
  require(EVP_DigestFinal_ex(context_->evp, key.data(), &size) == 1 && size == key.size());
  // Without a digest in the call the context keeps its own, which is the quick way to start anew.
  require(EVP_DigestInit_ex2(context_->evp, nullptr, nullptr) == 1);
  return key;
}

CacheKey cache_key(const KeyParts& parts) {
  // The short parts are gathered first: one update costs more than copying them.
  thread_local std::string head;
  head.assign(kTag);
  append_part(head, parts.tenant);
  append_part(head, parts.schema_version);
  append_part(head, parts.provider);
  append_part(head, parts.model);
  append_part(head, parts.operation);
  append_length(head, parts.canonical_request.size());
  Sha256& hash = thread_hash();
  hash.update(head);
  hash.update(parts.canonical_request);
  return hash.finish();
}

CacheKey key_of(std::string_view bytes) {
  Sha256& hash = thread_hash();
  hash.update(bytes);
  return hash.finish();
}

}  // namespace sluiceway::cache
