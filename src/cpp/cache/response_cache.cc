// The sharded LRU cache: see response_cache.h.
//
// A shard is a hash table of nodes that are also linked in the order of use, through a ring whose
// head is `used`: used.next is the latest, used.previous the oldest.
#include "cache/response_cache.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

namespace sluiceway::cache {

using Response = std::shared_ptr<const CachedResponse>;

// Parts of Shard, which is known outside of this file.
namespace lru {

struct Link {
  Link* next = this;
  Link* previous = this;

  void unlink() {
    next->previous = previous;
    previous->next = next;
  }
  void insert_after(Link& other) {
    next = other.next;
    previous = &other;
    next->previous = this;
    other.next = this;
  }
};

struct Node : Link {
  CacheKey key;
  Response response;
  std::int64_t expires_ns = 0;
  std::size_t bytes = 0;
};

}  // namespace lru

namespace {

using lru::Link;
using lru::Node;

std::int64_t add_saturating(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::int64_t>::max() : sum;
}

}  // namespace

struct ResponseCache::Shard {
  mutable std::mutex mutex;
  std::size_t bytes_max = 0;
  std::size_t entries_max = 0;
  absl::flat_hash_map<CacheKey, std::unique_ptr<Node>, CacheKeyHash> nodes;
  Link used;
  CacheStats stats;

  // Takes a node out and hands it over, to be destroyed when the lock is released.
  std::unique_ptr<Node> take(const CacheKey& key) {
    const auto found = nodes.find(key);
    if (found == nodes.end()) return nullptr;
    std::unique_ptr<Node> node = std::move(found->second);
    nodes.erase(found);
    node->unlink();
    stats.bytes -= node->bytes;
    --stats.entries;
    return node;
  }
  bool over() const { return stats.bytes > bytes_max || stats.entries > entries_max; }
};

ResponseCache::ResponseCache(std::size_t bytes_max, std::size_t shards, std::size_t entries_max)
    : shard_count_(std::bit_ceil(std::clamp<std::size_t>(shards, 1, 256))) {
  shards_ = std::make_unique<Shard[]>(shard_count_);
  for (std::size_t i = 0; i < shard_count_; ++i) {
    shards_[i].bytes_max = bytes_max / shard_count_;
    shards_[i].entries_max = std::max<std::size_t>(entries_max / shard_count_, 1);
  }
}

ResponseCache::~ResponseCache() = default;

// The last byte chooses the shard; the hash table inside uses the first eight.
ResponseCache::Shard& ResponseCache::shard_of(const CacheKey& key) const {
  return shards_[key.back() & (shard_count_ - 1)];
}

Response ResponseCache::get(const CacheKey& key, std::int64_t now_ns) {
  Shard& shard = shard_of(key);
  std::unique_ptr<Node> expired;  // destroyed after the lock
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.nodes.find(key);
  if (found == shard.nodes.end()) {
    ++shard.stats.misses;
    return nullptr;
  }
  Node& node = *found->second;
  if (now_ns >= node.expires_ns) {
    ++shard.stats.misses;
    ++shard.stats.expirations;
    expired = shard.take(key);
    return nullptr;
  }
  ++shard.stats.hits;
  node.unlink();
  node.insert_after(shard.used);
  return node.response;
}

void ResponseCache::put(const CacheKey& key, Response response, std::int64_t ttl_ns,
                        std::int64_t now_ns) {
  Shard& shard = shard_of(key);
  std::vector<std::unique_ptr<Node>> removed;  // destroyed after the lock
  auto node = std::make_unique<Node>();
  node->key = key;
  const std::size_t own_bytes = response ? response->bytes : 0;
  node->bytes =
      own_bytes + std::min(kEntryBytes, std::numeric_limits<std::size_t>::max() - own_bytes);
  node->expires_ns = add_saturating(now_ns, std::max<std::int64_t>(ttl_ns, 0));
  const bool keep = response != nullptr && ttl_ns > 0 && node->bytes <= shard.bytes_max;
  node->response = std::move(response);

  const std::lock_guard lock(shard.mutex);
  if (auto old = shard.take(key)) removed.push_back(std::move(old));
  if (!keep) {
    ++shard.stats.refused;
    removed.push_back(std::move(node));
    return;
  }
  ++shard.stats.insertions;
  shard.stats.bytes += node->bytes;
  ++shard.stats.entries;
  node->insert_after(shard.used);
  shard.nodes.emplace(key, std::move(node));
  while (shard.over()) {
    ++shard.stats.evictions;
    removed.push_back(shard.take(static_cast<Node*>(shard.used.previous)->key));
  }
}

bool ResponseCache::erase(const CacheKey& key) {
  Shard& shard = shard_of(key);
  std::unique_ptr<Node> removed;  // destroyed after the lock
  const std::lock_guard lock(shard.mutex);
  removed = shard.take(key);
  return removed != nullptr;
}

void ResponseCache::clear() {
  for (std::size_t i = 0; i < shard_count_; ++i) {
    Shard& shard = shards_[i];
    decltype(shard.nodes) removed;  // destroyed after the lock
    const std::lock_guard lock(shard.mutex);
    removed.swap(shard.nodes);
    shard.used.next = shard.used.previous = &shard.used;
    shard.stats.bytes = 0;
    shard.stats.entries = 0;
  }
}

CacheStats ResponseCache::stats() const {
  CacheStats total;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const Shard& shard = shards_[i];
    const std::lock_guard lock(shard.mutex);
    total.hits += shard.stats.hits;
    total.misses += shard.stats.misses;
    total.insertions += shard.stats.insertions;
    total.evictions += shard.stats.evictions;
    total.expirations += shard.stats.expirations;
    total.refused += shard.stats.refused;
    total.entries += shard.stats.entries;
    total.bytes += shard.stats.bytes;
  }
  return total;
}

void ResponseCache::lock_all() {
  for (std::size_t i = 0; i < shard_count_; ++i) shards_[i].mutex.lock();
}

void ResponseCache::unlock_all() {
  for (std::size_t i = shard_count_; i > 0; --i) shards_[i - 1].mutex.unlock();
}

}  // namespace sluiceway::cache
