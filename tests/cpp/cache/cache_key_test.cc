// SHA-256 against FIPS 180-4's examples, and the key's separation of its parts.
#include "cache/cache_key.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/text.h"

namespace sluiceway::cache {
namespace {

std::string hex(const CacheKey& key) { return to_hex(key.data(), key.size()); }

TEST(Sha256, ExamplesOfFips180) {
  EXPECT_EQ(hex(key_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(key_of("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(key_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 hash;
  for (int i = 0; i < 1000; ++i) hash.update(std::string(1000, 'a'));
  EXPECT_EQ(hex(hash.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  hash.update("abc");  // it starts anew
  EXPECT_EQ(hash.finish(), key_of("abc"));
}

// The bytes that are hashed, written out by hand: a change of them would mix old keys with new.
TEST(CacheKey, LayoutIsFixed) {
  std::string bytes = "sluiceway.cache.key.1";
  const auto part = [&bytes](std::string_view text) {
    bytes += static_cast<char>(text.size());
    bytes += std::string(7, '\0');
    bytes += text;
  };
  part("acme");
  part("1");
  part("openai");
  part("m");
  part("chat");
  part("{\"n\":1}");
  EXPECT_EQ(cache_key({"acme", "1", "openai", "m", "chat", "{\"n\":1}"}), key_of(bytes));
}

TEST(CacheKey, NoTwoTuplesCollide) {
  std::set<CacheKey> keys;
  // Characters moved over every border, and empty parts in every place.
  for (int border = 1; border < 6; ++border) {
    for (const bool moved : {false, true}) {
      std::string parts[6] = {"aa", "aa", "aa", "aa", "aa", "aa"};
      if (moved) {
        parts[border - 1] += "a";
        parts[border].pop_back();
      } else {
        parts[border - 1].pop_back();
        parts[border] += "a";
      }
      keys.insert(cache_key({parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]}));
    }
  }
  EXPECT_EQ(keys.size(), 10u);
  keys.clear();
  for (int place = 0; place < 6; ++place) {
    std::string_view parts[6];
    parts[place] = "x";
    keys.insert(cache_key({parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]}));
  }
  EXPECT_EQ(keys.size(), 6u);
}

TEST(CacheKey, ThreadsHashOnTheirOwn) {
  const CacheKey expected = cache_key({"t", "1", "p", "m", "o", std::string(5000, 'x')});
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        wrong[t] += cache_key({"t", "1", "p", "m", "o", std::string(5000, 'x')}) != expected;
        wrong[t] += cache_key({"u", "1", "p", "m", "o", std::to_string(t)}) == expected;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace sluiceway::cache
