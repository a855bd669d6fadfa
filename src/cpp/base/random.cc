// xoshiro256** and its seeding: see random.h.
#include "base/random.h"

#include <sys/random.h>

#include <bit>

#include "base/clock.h"

namespace sluiceway {

std::int64_t Random::uniform(std::int64_t bound) {
  if (bound <= 0) return 0;
  const auto range = static_cast<std::uint64_t>(bound) + 1;
  // Lemire's multiplication; the bias is below 2^-64 x range, far under what jitter can notice.
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<std::int64_t>((static_cast<Wide>(next()) * range) >> 64);
}

std::uint64_t SeededRandom::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::seed_with(std::uint64_t seed) {
  for (auto& word : state_) {  // splitmix64
    seed += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    word = z ^ (z >> 31);
  }
}

std::uint64_t SystemRandom::entropy() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed))) {
    // Only possible where the kernel's pool is not ready; the clocks then keep two processes apart.
    seed = static_cast<std::uint64_t>(SystemClock::instance().monotonic_ns()) ^
           (static_cast<std::uint64_t>(SystemClock::instance().wall_ns()) << 1);
  }
  return seed;
}

}  // namespace sluiceway
