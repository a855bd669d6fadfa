// The cache key: SHA-256 over everything that makes two calls the same call.
//
// Model: a key is the hash of a tag and six parts (tenant, schema version, provider, model,
// operation, canonical request), each with its length in front, so that different tuples never give
// the same bytes. Who knows a key's parts can compute it; tenants are kept apart by the part, not
// by secrecy.
//
// Bounds: about 130 ns for 64 bytes, then the speed of SHA-256; the hash context is reused, so no
// allocation after the first use in a thread. Threads: a Sha256 belongs to one thread; cache_key()
// and key_of() use one context per thread.
//
// Example: cache_key({.tenant = "a", .schema_version = "1", .provider = "openai",
//                     .model = "m", .operation = "chat", .canonical_request = R"({"n":1})"})
//
// Source: FIPS 180-4 through OpenSSL's EVP; RFC 8785 for the request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace sluiceway::cache {

using CacheKey = std::array<std::uint8_t, 32>;

// Incremental SHA-256. After finish() it starts anew. A failure inside OpenSSL (out of memory, or a
// configuration without SHA-256) aborts the program: a wrong key would answer with another's data.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::string_view bytes);
  CacheKey finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

struct KeyParts {
  std::string_view tenant;
  std::string_view schema_version;
  std::string_view provider;
  std::string_view model;
  std::string_view operation;
  std::string_view canonical_request;
};

CacheKey cache_key(const KeyParts& parts);

// Plain SHA-256 of `bytes`.
CacheKey key_of(std::string_view bytes);

// For hash tables: the key is uniform already.
struct CacheKeyHash {
  std::size_t operator()(const CacheKey& key) const {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, key.data(), sizeof word);
    return static_cast<std::size_t>(word);
  }
};

}  // namespace sluiceway::cache
