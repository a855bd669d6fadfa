// Blocks of memory that are taken and given back at every call, kept by the thread that gave them
// back.
//
// With many calls in flight their blocks come and go in bursts. glibc's own cache for a thread
// keeps seven blocks of a size, none above 1,032 bytes, and before 2.41 calloc passes by it; so
// most went the slow road both ways: a transfer of libcurl takes some forty blocks, and that was 12
// % of a call's CPU. Here a thread keeps what was given back, by size, and gives it out again.
//
// A thread keeps as many blocks of a size as it had to fetch: one that only gives back what another
// takes keeps none, and they go where they came from.
//
// Model. Every block is one of std::malloc with nothing written in front of it: a block may be
// freed by free(), and one of malloc() may be given back here. So whoever else uses the same
// libcurl in the process need not know. What a kept block held is not cleared; pool_calloc clears.
//
// Bounds: blocks of up to kPooledBytesMax bytes, kKeptBytesMax of them for each thread, freed when
// the thread ends. Any thread.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLUICEWAY_CLANG_ASAN 1
#endif
#endif

namespace sluiceway {

inline constexpr std::size_t kPooledBytesMax = 2048;
inline constexpr std::size_t kKeptBytesMax = std::size_t{1} << 20;

// As their namesakes of the C library, but that pool_realloc(block, 0) keeps a block.
void* pool_malloc(std::size_t bytes);
void pool_free(void* block);
void* pool_realloc(void* block, std::size_t bytes);
void* pool_calloc(std::size_t count, std::size_t bytes);
char* pool_strdup(const char* text);

// What this thread keeps, in bytes.
std::size_t pool_kept_bytes();

// Whether the project's own objects and libcurl's are to take their blocks here. Not under
// AddressSanitizer, which is to see each block's own life.
#if defined(__SANITIZE_ADDRESS__) || defined(SLUICEWAY_CLANG_ASAN)
inline constexpr bool kPoolsBlocks = false;
#else
inline constexpr bool kPoolsBlocks = true;
#endif

inline void* take_block(std::size_t bytes) {
  void* block = kPoolsBlocks ? pool_malloc(bytes) : std::malloc(bytes);
  return block != nullptr ? block : ::operator new(bytes);  // which says that there is no more
}
inline void give_block(void* block) { kPoolsBlocks ? pool_free(block) : std::free(block); }

// A base for what is made by `new`.
struct Pooled {
  static void* operator new(std::size_t bytes) { return take_block(bytes); }
  static void operator delete(void* block) { give_block(block); }
};

// For std::allocate_shared.
template <typename T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <typename Other>
  PoolAllocator(const PoolAllocator<Other>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) { return static_cast<T*>(take_block(count * sizeof(T))); }
  void deallocate(T* block, std::size_t) { give_block(block); }
  bool operator==(const PoolAllocator&) const = default;
};

}  // namespace sluiceway
