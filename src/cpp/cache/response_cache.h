// Answers kept in memory: a sharded LRU cache with a time to live, bounded in bytes and in entries.
//
// Model: `shards` independent LRU lists, each with its share of both bounds and its own lock; a
// key's bytes choose the shard. put() makes an entry that is there from `now_ns` until just before
// now_ns + ttl_ns; get() moves it to the front but never extends its life. When a shard is over a
// bound its oldest-used entries go. An entry larger than a shard's share is not kept at all.
//
// Bounds: bytes counts each response's own `bytes` plus kEntryBytes for the entry; get, put and
// erase take amortised constant time. Threads: safe for all; std::mutex per shard, and what is
// removed is destroyed after the lock is released (a destructor may take other locks). Time is a
// parameter: any clock that does not go back, the same one for all calls.
//
// Example:
//   ResponseCache cache(64 << 20);
//   cache.put(key, response, 60 * kNsPerSecond, now_ns);
//   if (auto hit = cache.get(key, now_ns)) return hit;
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cache/cache_key.h"

namespace sluiceway::cache {

// What a cache holds; the owner derives from it. Immutable once it is put.
struct CachedResponse {
  virtual ~CachedResponse() = default;
  std::size_t bytes = 0;  // memory held, estimated by whoever makes it
};

struct CacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;       // expired ones included
  std::uint64_t insertions = 0;   // replaced entries included
  std::uint64_t evictions = 0;    // pushed out by a bound
  std::uint64_t expirations = 0;  // found too old
  std::uint64_t refused = 0;      // too large, or without a time to live
  std::size_t entries = 0;
  std::size_t bytes = 0;
};

class ResponseCache {
 public:
  // What one entry costs beside its response: key, links, hash table slot.
  static constexpr std::size_t kEntryBytes = 192;

  // `shards` is rounded up to a power of two, at most 256.
  explicit ResponseCache(std::size_t bytes_max, std::size_t shards = 16,
                         std::size_t entries_max = std::size_t{1} << 20);
  ~ResponseCache();
  ResponseCache(const ResponseCache&) = delete;
  ResponseCache& operator=(const ResponseCache&) = delete;

  // Null when there is none, or its time is over.
  std::shared_ptr<const CachedResponse> get(const CacheKey& key, std::int64_t now_ns);
  // Replaces what is there. ttl_ns <= 0, or a null response, stores nothing and erases the key.
  void put(const CacheKey& key, std::shared_ptr<const CachedResponse> response, std::int64_t ttl_ns,
           std::int64_t now_ns);
  // True when it was there.
  bool erase(const CacheKey& key);
  void clear();
  CacheStats stats() const;

  // For the fork hooks: all locks at once, in a fixed order, and their release.
  void lock_all();
  void unlock_all();

 private:
  struct Shard;
  Shard& shard_of(const CacheKey& key) const;

  std::unique_ptr<Shard[]> shards_;
  std::size_t shard_count_;
};

}  // namespace sluiceway::cache
