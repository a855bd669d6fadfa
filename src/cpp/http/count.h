// A number that one thread at a time counts and any thread may read.
//
// Relaxed, and without a locked instruction: who counts holds the engine's turn, and so reads the
// last value. Each number is exact by itself; several read one after the other are a
// snapshot of no single instant. Example:
//   Count opened; ++opened; std::uint64_t seen = opened.value();
#pragma once

#include <atomic>
#include <cstdint>

namespace sluiceway::http {

class Count {
 public:
  Count& operator++() { return add(1); }
  Count& operator--() { return add(~std::uint64_t{0}); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  Count& add(std::uint64_t change) {
    value_.store(value_.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
    return *this;
  }
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace sluiceway::http
