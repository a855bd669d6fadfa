// The buckets' names: see usage.h.
#include "base/usage.h"

namespace sluiceway {
namespace {

constexpr std::array<std::string_view, kBucketCount> kBucketNames = {
    "input",       "cache_read",   "cache_write_5m", "cache_write_1h", "output",     "reasoning",
    "audio_input", "audio_output", "image_input",    "image_output",   "characters", "images",
    "megapixels",  "seconds",      "searches",       "requests",       "credits",    "quota_units"};

}  // namespace

std::string_view bucket_name(Bucket bucket) {
  return kBucketNames[static_cast<std::size_t>(bucket)];
}

std::size_t bucket_index(std::string_view name) {
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (kBucketNames[i] == name) return i;
  }
  return kBucketCount;
}

}  // namespace sluiceway
