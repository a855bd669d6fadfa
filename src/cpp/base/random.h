// Randomness as an interface: jitter and ids draw from it, and a simulation seeds it.
//
// SeededRandom is xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number
// generators", 2018), seeded through splitmix64. It is not for secrets. SystemRandom is a
// SeededRandom whose seed comes from getrandom(2); reseed() after a fork. Neither is safe for
// several threads at once: each owner has its own.
#pragma once

#include <cstdint>

namespace sluiceway {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;  // uniform over all 64-bit values
  // Uniform in [0, bound]; bound >= 0.
  std::int64_t uniform(std::int64_t bound);
};

class SeededRandom : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) { seed_with(seed); }
  std::uint64_t next() override;

 protected:
  void seed_with(std::uint64_t seed);

 private:
  std::uint64_t state_[4];
};

class SystemRandom final : public SeededRandom {
 public:
  SystemRandom() : SeededRandom(entropy()) {}
  void reseed() { seed_with(entropy()); }
  static std::uint64_t entropy();
};

}  // namespace sluiceway
