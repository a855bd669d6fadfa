// The response cache: life times to the nanosecond, both bounds, order of use, threads.
#include "cache/response_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "support/vectors.h"

namespace sluiceway::cache {
namespace {

constexpr std::size_t kEntry = ResponseCache::kEntryBytes;

struct Text final : CachedResponse {
  explicit Text(int value_arg, std::size_t size = 0) : value(value_arg) { bytes = size; }
  int value;
};

std::shared_ptr<const CachedResponse> response(int value, std::size_t size = 0) {
  return std::make_shared<Text>(value, size);
}

CacheKey key(int n, std::uint8_t shard = 0) {
  CacheKey made{};
  for (int i = 0; i < 4; ++i) made[i] = static_cast<std::uint8_t>(n >> (8 * i));
  made.back() = shard;
  return made;
}

int value_of(const std::shared_ptr<const CachedResponse>& hit) {
  return hit ? static_cast<const Text&>(*hit).value : -1;
}

TEST(ResponseCache, LivesExactlyItsTime) {
  ResponseCache cache(1 << 20);
  cache.put(key(1), response(7), 100, 1000);
  EXPECT_EQ(value_of(cache.get(key(1), 1000)), 7);
  EXPECT_EQ(value_of(cache.get(key(1), 1099)), 7);
  EXPECT_EQ(value_of(cache.get(key(1), 1100)), -1);
  EXPECT_EQ(value_of(cache.get(key(1), 1099)), -1);  // gone, not hidden
  const CacheStats stats = cache.stats();
  EXPECT_EQ(stats.hits, 2u);
  EXPECT_EQ(stats.misses, 2u);
  EXPECT_EQ(stats.expirations, 1u);
  EXPECT_EQ(stats.entries, 0u);
  EXPECT_EQ(stats.bytes, 0u);
}

TEST(ResponseCache, ReadingDoesNotExtend) {
  ResponseCache cache(1 << 20);
  cache.put(key(1), response(7), 100, 0);
  for (int now = 0; now < 100; ++now) EXPECT_EQ(value_of(cache.get(key(1), now)), 7);
  EXPECT_EQ(value_of(cache.get(key(1), 100)), -1);
}

TEST(ResponseCache, ForeverIsNoOverflow) {
  ResponseCache cache(1 << 20);
  cache.put(key(1), response(7), INT64_MAX, 1000);
  EXPECT_EQ(value_of(cache.get(key(1), INT64_MAX - 1)), 7);
}

TEST(ResponseCache, ReplacingReplacesTimeAndSize) {
  ResponseCache cache(1 << 20);
  cache.put(key(1), response(1, 500), 100, 0);
  cache.put(key(1), response(2, 10), 300, 50);
  EXPECT_EQ(value_of(cache.get(key(1), 349)), 2);
  EXPECT_EQ(cache.stats().bytes, 10 + kEntry);
  EXPECT_EQ(cache.stats().entries, 1u);
  cache.put(key(1), response(3), 0, 60);  // no life time: not stored, and the old one is gone
  EXPECT_EQ(value_of(cache.get(key(1), 61)), -1);
  cache.put(key(1), nullptr, 100, 60);
  EXPECT_EQ(value_of(cache.get(key(1), 61)), -1);
  EXPECT_EQ(cache.stats().refused, 2u);
}

TEST(ResponseCache, TheLeastRecentlyUsedGoesFirst) {
  ResponseCache cache(3 * (100 + kEntry), 1);
  for (int n = 1; n <= 3; ++n) cache.put(key(n), response(n, 100), 1000, 0);
  EXPECT_EQ(value_of(cache.get(key(1), 1)), 1);  // 2 is the oldest now
  cache.put(key(4), response(4, 100), 1000, 2);
  EXPECT_EQ(value_of(cache.get(key(2), 3)), -1);
  EXPECT_EQ(value_of(cache.get(key(1), 3)), 1);
  EXPECT_EQ(value_of(cache.get(key(3), 3)), 3);
  EXPECT_EQ(value_of(cache.get(key(4), 3)), 4);
  EXPECT_EQ(cache.stats().evictions, 1u);
  EXPECT_EQ(cache.stats().bytes, 3 * (100 + kEntry));
  // One that needs the room of two pushes out two: 1 and 3.
  cache.put(key(5), response(5, 200 + kEntry), 1000, 4);
  EXPECT_EQ(value_of(cache.get(key(1), 5)), -1);
  EXPECT_EQ(value_of(cache.get(key(3), 5)), -1);
  EXPECT_EQ(value_of(cache.get(key(4), 5)), 4);
  EXPECT_EQ(value_of(cache.get(key(5), 5)), 5);
}

TEST(ResponseCache, TooLargeIsNotKept) {
  ResponseCache cache(1000, 1);
  cache.put(key(1), response(1, 10), 100, 0);
  cache.put(key(2), response(2, 1001 - kEntry), 100, 0);
  EXPECT_EQ(value_of(cache.get(key(2), 1)), -1);
  EXPECT_EQ(value_of(cache.get(key(1), 1)), 1);  // and it pushed nothing out
  cache.put(key(3), response(3, 1000 - kEntry), 100, 0);
  EXPECT_EQ(value_of(cache.get(key(3), 1)), 3);
  cache.put(key(4), response(4, SIZE_MAX), 100, 0);
  EXPECT_EQ(value_of(cache.get(key(4), 1)), -1);
}

TEST(ResponseCache, BoundsEntries) {
  ResponseCache cache(1 << 20, 1, 3);
  for (int n = 0; n < 10; ++n) cache.put(key(n), response(n), 100, 0);
  EXPECT_EQ(cache.stats().entries, 3u);
  EXPECT_EQ(value_of(cache.get(key(9), 1)), 9);
  EXPECT_EQ(value_of(cache.get(key(6), 1)), -1);
}

TEST(ResponseCache, EraseAndClear) {
  ResponseCache cache(1 << 20);
  for (int n = 0; n < 64; ++n)
    cache.put(key(n, static_cast<std::uint8_t>(n)), response(n, 10), 100, 0);
  EXPECT_TRUE(cache.erase(key(5, 5)));
  EXPECT_FALSE(cache.erase(key(5, 5)));
  EXPECT_EQ(cache.stats().entries, 63u);
  EXPECT_EQ(cache.stats().bytes, 63 * (10 + kEntry));
  cache.clear();
  EXPECT_EQ(cache.stats().entries, 0u);
  EXPECT_EQ(cache.stats().bytes, 0u);
  EXPECT_EQ(value_of(cache.get(key(6, 6), 1)), -1);
  cache.put(key(6, 6), response(6), 100, 0);
  EXPECT_EQ(value_of(cache.get(key(6, 6), 1)), 6);
}

TEST(ResponseCache, AHitOutlivesItsEntry) {
  ResponseCache cache(1 << 20);
  cache.put(key(1), response(7), 100, 0);
  const auto hit = cache.get(key(1), 1);
  cache.clear();
  EXPECT_EQ(value_of(hit), 7);
}

// A response whose destructor uses the cache: it must run without the lock.
struct Nested final : CachedResponse {
  explicit Nested(ResponseCache* cache_arg) : cache(cache_arg) {}
  ~Nested() override { cache->get(key(1), 0); }
  ResponseCache* cache;
};

TEST(ResponseCache, DestroysOutsideItsLocks) {
  ResponseCache cache(10 * kEntry, 1, 2);
  const auto put = [&](int n, std::int64_t ttl_ns) {
    cache.put(key(n), std::make_shared<Nested>(&cache), ttl_ns, 0);
  };
  put(1, 100);
  put(1, 100);  // replaced
  put(2, 100);
  put(3, 100);  // evicted
  put(4, 0);    // refused
  cache.erase(key(3));
  cache.get(key(2), 200);  // expired
  put(5, 100);
  cache.clear();
  EXPECT_EQ(cache.stats().entries, 0u);
}

TEST(ResponseCache, LocksForAFork) {
  ResponseCache cache(1 << 20);
  cache.lock_all();
  std::atomic<bool> done = false;
  std::thread reader([&] {
    cache.get(key(1), 0);
    done = true;
  });
  EXPECT_FALSE(done);
  cache.unlock_all();
  reader.join();
  EXPECT_TRUE(done);
}

// The same operations on a plain model: a list in the order of use.
TEST(ResponseCache, AgreesWithAModel) {
  std::mt19937_64 random(testing::seed());
  constexpr std::size_t kBytesMax = 3000;
  ResponseCache cache(kBytesMax, 1, 8);
  struct Entry {
    int key, value;
    std::int64_t expires;
    std::size_t bytes;
  };
  std::list<Entry> model;  // the latest used first
  const auto find = [&](int n) {
    auto at = model.begin();
    while (at != model.end() && at->key != n) ++at;
    return at;
  };
  std::int64_t now = 0;
  for (int step = 0; step < 50'000; ++step) {
    now += static_cast<std::int64_t>(random() % 5);
    const int n = static_cast<int>(random() % 16);
    auto at = find(n);
    switch (random() % 5) {
      case 0:
      case 1: {
        const std::size_t size = random() % 1200;
        const auto ttl = static_cast<std::int64_t>(random() % 60);
        cache.put(key(n), response(step, size), ttl, now);
        if (at != model.end()) model.erase(at);
        if (ttl == 0) break;
        model.push_front({n, step, now + ttl, size + kEntry});
        const auto total = [&] {
          std::size_t sum = 0;
          for (const Entry& entry : model) sum += entry.bytes;
          return sum;
        };
        while (total() > kBytesMax || model.size() > 8) model.pop_back();
        break;
      }
      case 2:
        EXPECT_EQ(cache.erase(key(n)), at != model.end());
        if (at != model.end()) model.erase(at);
        break;
      default: {
        int expected = -1;
        if (at != model.end() && at->expires <= now) {
          model.erase(at);
        } else if (at != model.end()) {
          expected = at->value;
          model.splice(model.begin(), model, at);
        }
        ASSERT_EQ(value_of(cache.get(key(n), now)), expected) << "step " << step;
      }
    }
    ASSERT_EQ(cache.stats().entries, model.size());
  }
}

TEST(ResponseCache, ThreadsSeeOnlyWhatWasPut) {
  ResponseCache cache(64 << 10, 4);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 20'000; ++i) {
        const int n = static_cast<int>(random() % 200);
        const CacheKey k = key(n, static_cast<std::uint8_t>(n));
        if (random() % 3 == 0) {
          cache.put(k, response(n, 500), 1000, i);
        } else if (const auto hit = cache.get(k, i); hit && value_of(hit) != n) {
          ++wrong;
        }
        if (random() % 1000 == 0) cache.clear();
        if (random() % 100 == 0) cache.erase(k);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(cache.stats().bytes, 64u << 10);
}

}  // namespace
}  // namespace sluiceway::cache
