// Blocks kept by size: see block_pool.h.
#include "base/block_pool.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sluiceway {
namespace {

// Class n holds blocks with at least 16 n + 8 usable bytes, which is how glibc cuts them.
constexpr std::size_t kClasses = kPooledBytesMax / 16 + 1;
constexpr std::size_t class_that_fits(std::size_t bytes) {
  return bytes <= 24 ? 1 : bytes > kPooledBytesMax ? kClasses : (bytes + 7) / 16;
}
constexpr std::size_t class_of_block(std::size_t usable) {
  return std::min((usable - 8) / 16, kClasses);
}
constexpr std::size_t bytes_of(std::size_t size_class) { return 16 * size_class + 8; }
static_assert(class_that_fits(bytes_of(5)) == 5 && class_that_fits(bytes_of(5) + 1) == 6);
static_assert(class_of_block(bytes_of(5)) == 5 && class_of_block(bytes_of(6) - 1) == 5);

struct Kept {
  Kept* next;
};

struct List {
  Kept* first = nullptr;
  std::uint32_t count = 0;
  std::uint32_t wanted = 0;  // how often it was empty when a block was asked for
};

struct Pool {
  std::array<List, kClasses> lists{};
  std::size_t bytes = 0;
};

// A plain pointer, so that a look at it is one load; null before the first use and after the last.
constinit thread_local Pool* pool = nullptr;

// Ends the thread's pool with the thread. What other objects of the thread give back after that is
// freed.
struct Owner {
  Pool own;
  Owner() { pool = &own; }
  ~Owner() {
    pool = nullptr;
    for (List& list : own.lists) {
      while (list.first != nullptr) std::free(std::exchange(list.first, list.first->next));
    }
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
};

Pool* made_pool() {
  thread_local Owner owner;  // made once a thread: after its end `pool` stays null
  return pool;
}

}  // namespace

void* pool_malloc(std::size_t bytes) {
  const std::size_t wanted = class_that_fits(bytes);
  if (wanted >= kClasses) return std::malloc(bytes);
  Pool* here = pool != nullptr ? pool : made_pool();
  if (here == nullptr) return std::malloc(bytes);
  List& list = here->lists[wanted];
  if (list.first == nullptr) {
    void* block = std::malloc(bytes);
    // Where it will be kept: another allocator than glibc's rounds otherwise.
    const std::size_t size = block == nullptr ? 0 : class_of_block(malloc_usable_size(block));
    if (size < kClasses) ++here->lists[size].wanted;
    return block;
  }
  --list.count;
  here->bytes -= bytes_of(wanted);
  return std::exchange(list.first, list.first->next);
}

void pool_free(void* block) {
  if (block == nullptr) return;
  const std::size_t size = class_of_block(malloc_usable_size(block));
  Pool* here = pool;
  // Class 0 fits nothing that is asked for; another allocator than glibc's may have such blocks.
  if (here == nullptr || size == 0 || size >= kClasses ||
      here->lists[size].count >= here->lists[size].wanted ||
      here->bytes + bytes_of(size) > kKeptBytesMax) {
    std::free(block);
    return;
  }
  List& list = here->lists[size];
  list.first = new (block) Kept{list.first};
  ++list.count;
  here->bytes += bytes_of(size);
}

void* pool_realloc(void* block, std::size_t bytes) {
  if (block == nullptr) return pool_malloc(bytes);
  const std::size_t usable = malloc_usable_size(block);
  if (bytes <= usable && usable <= kPooledBytesMax) return block;
  if (usable > kPooledBytesMax) return std::realloc(block, std::max<std::size_t>(bytes, 1));
  void* moved = pool_malloc(bytes);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, usable);
  pool_free(block);
  return moved;
}

void* pool_calloc(std::size_t count, std::size_t bytes) {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return nullptr;
  if (all > kPooledBytesMax) return std::calloc(count, bytes);  // fresh pages are zero already
  void* block = pool_malloc(all);
  return block == nullptr ? nullptr : std::memset(block, 0, all);
}

char* pool_strdup(const char* text) {
  const std::size_t bytes = std::strlen(text) + 1;
  void* copy = pool_malloc(bytes);
  return copy == nullptr ? nullptr : static_cast<char*>(std::memcpy(copy, text, bytes));
}

std::size_t pool_kept_bytes() { return pool == nullptr ? 0 : pool->bytes; }

}  // namespace sluiceway
