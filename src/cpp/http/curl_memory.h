// Memory for libcurl: the allocator's blocks, kept by the thread that gave them back.
//
// A transfer takes and gives back some forty blocks. Many of them come from calloc, which in glibc
// before 2.41 passes by the thread's cache, and that cache keeps seven blocks of a size, so that in
// a burst of calls most went the slow road both ways: 12 % of a call's CPU. Here a thread keeps
// what was given back, by size, and gives it out again.
//
// Model. Every block is one of std::malloc with nothing written in front of it: a block may be
// freed by free(), and one of malloc() may be given back here. So whoever else uses the same
// libcurl in the process need not know. What a kept block held is not cleared; calloc clears.
//
// Bounds: blocks of up to kPooledBytesMax, kKeptBytesMax of them for each thread, freed when the
// thread ends. Any thread.
#pragma once

#include <cstddef>

namespace sluiceway::http {

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

// curl_global_init() with these, or, under AddressSanitizer, which is to see each block's own life,
// without. False where libcurl refuses. Where somebody in the process was first, libcurl goes on
// with what they gave it.
bool init_curl_memory();

}  // namespace sluiceway::http
