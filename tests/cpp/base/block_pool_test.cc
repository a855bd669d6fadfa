// Blocks that are given back and taken again.
#include "base/block_pool.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace sluiceway {
namespace {

constexpr std::size_t kWhole = 504;  // 16 n + 8: a block that an allocator need not round up

// Each test has a thread of its own, whose pool is empty.
class BlockPoolTest : public testing::Test {
 protected:
  static void in_a_thread(const std::function<void()>& work) { std::thread(work).join(); }
};

TEST_F(BlockPoolTest, ABlockComesAgainForWhatFitsIntoItAndForNothingLarger) {
  in_a_thread([] {
    void* block = pool_malloc(kWhole);
    const std::size_t usable = malloc_usable_size(block);
    ASSERT_GE(usable, kWhole);
    pool_free(block);
    void* larger = pool_malloc(usable + 1);
    EXPECT_NE(larger, block);
    void* again = pool_malloc(usable);
    ASSERT_EQ(again, block);
    pool_free(larger);
    pool_free(again);
  });
}

TEST_F(BlockPoolTest, EverySizeUpToTheLargestHasRoomForItself) {
  in_a_thread([] {
    for (std::size_t bytes = 0; bytes <= kPooledBytesMax + 64; ++bytes) {
      for (int round = 0; round < 2; ++round) {  // a new one, then the kept one
        void* block = pool_malloc(bytes);
        ASSERT_NE(block, nullptr);
        ASSERT_GE(malloc_usable_size(block), bytes);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t), 0u);
        if (bytes > 0) std::memset(block, 0xa5, bytes);
        pool_free(block);
      }
    }
  });
}

TEST_F(BlockPoolTest, ClearsWhatCallocGivesOut) {
  in_a_thread([] {
    void* block = pool_malloc(200);
    std::memset(block, 0xff, 200);
    pool_free(block);
    auto* cleared = static_cast<unsigned char*>(pool_calloc(10, 20));
    for (int i = 0; i < 200; ++i) ASSERT_EQ(cleared[i], 0) << i;
    pool_free(cleared);
    EXPECT_EQ(pool_calloc(SIZE_MAX / 2, 3), nullptr);
  });
}

TEST_F(BlockPoolTest, KeepsTheContentsWhenABlockGrows) {
  in_a_thread([] {
    std::string expected = "a";
    char* text = pool_strdup(expected.c_str());
    while (expected.size() < 3 * kPooledBytesMax) {
      expected += expected.substr(0, expected.size() / 2) + "b";
      text = static_cast<char*>(pool_realloc(text, expected.size() + 1));
      ASSERT_NE(text, nullptr);
      ASSERT_EQ(expected.compare(0, std::strlen(text), text), 0);
      std::memcpy(text, expected.c_str(), expected.size() + 1);
    }
    EXPECT_EQ(text, expected);
    pool_free(text);
  });
}

TEST_F(BlockPoolTest, MixesWithTheCLibrary) {
  in_a_thread([] {
    std::free(pool_malloc(50));  // somebody who does not know of the pool
    pool_free(std::malloc(50));  // a block from before
    std::free(pool_realloc(nullptr, 70));
    pool_free(pool_realloc(std::malloc(8), 300));
    pool_free(nullptr);
  });
}

TEST_F(BlockPoolTest, KeepsNoMoreThanItsBoundAndFreesItWithTheThread) {
  in_a_thread([] {
    EXPECT_EQ(pool_kept_bytes(), 0u);
    std::vector<void*> blocks(2'000);
    for (void*& block : blocks) block = pool_malloc(kPooledBytesMax - 64);
    for (void* block : blocks) pool_free(block);
    EXPECT_LE(pool_kept_bytes(), kKeptBytesMax);
    EXPECT_GT(pool_kept_bytes(), kKeptBytesMax - kPooledBytesMax);
    // That the thread's end frees them is AddressSanitizer's to see.
  });
}

// AddressSanitizer's blocks have just the size that was asked for.
TEST_F(BlockPoolTest, KeepsNoBlockThatNothingFitsInto) {
  in_a_thread([] {
    void* other = pool_malloc(16);  // this thread wants one of the size
    void* block = std::malloc(16);
    const bool small = malloc_usable_size(block) < 24;
    pool_free(block);
    EXPECT_EQ(pool_kept_bytes() == 0, small);
    pool_free(other);
  });
}

TEST_F(BlockPoolTest, TakesBlocksOfAnotherThread) {
  in_a_thread([] {
    void* other = pool_malloc(kWhole);  // this thread wants one of the size
    void* block = nullptr;
    std::thread([&] { block = pool_malloc(kWhole); }).join();
    pool_free(block);
    ASSERT_EQ(pool_malloc(kWhole), block);
    pool_free(block);
    pool_free(other);
  });
}

TEST_F(BlockPoolTest, KeepsAsManyAsItHadToFetch) {
  in_a_thread([] {
    std::vector<void*> blocks(10);
    std::thread([&] {
      for (void*& block : blocks) block = pool_malloc(kWhole);
    }).join();
    pool_free(blocks[0]);
    EXPECT_EQ(pool_kept_bytes(), 0u);  // it takes none
    void* one = pool_malloc(kWhole);
    void* two = pool_malloc(kWhole);
    for (std::size_t i = 1; i < blocks.size(); ++i) pool_free(blocks[i]);
    EXPECT_EQ(pool_kept_bytes(), 2 * kWhole);
    pool_free(one);
    pool_free(two);
    EXPECT_EQ(pool_kept_bytes(), 2 * kWhole);
  });
}

}  // namespace
}  // namespace sluiceway
