// Blocks kept by size: see block_pool.h.
#include "base/block_pool.h"

#include <malloc.h>

#include <algorithm>
#include <array>
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

struct Pool {
  std::array<Kept*, kClasses> first{};
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
    for (Kept* block : own.first) {
      while (block != nullptr) std::free(std::exchange(block, block->next));
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
  Pool* here = pool;
  if (wanted >= kClasses || here == nullptr) return std::malloc(bytes);
  Kept* block = here->first[wanted];
  if (block == nullptr) return std::malloc(bytes);
  here->first[wanted] = block->next;
  here->bytes -= bytes_of(wanted);
  return block;
}

void pool_free(void* block) {
  if (block == nullptr) return;
  const std::size_t kept = class_of_block(malloc_usable_size(block));
  Pool* here = pool;
  if (here == nullptr && kept < kClasses) here = made_pool();
  // Class 0 fits nothing that is asked for; another allocator than glibc's may have such blocks.
  if (here == nullptr || kept == 0 || kept >= kClasses ||
      here->bytes + bytes_of(kept) > kKeptBytesMax) {
    std::free(block);
    return;
  }
  here->first[kept] = new (block) Kept{here->first[kept]};
  here->bytes += bytes_of(kept);
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
