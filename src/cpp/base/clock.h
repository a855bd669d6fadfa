// Time as an interface, so that the whole engine can run on a simulated clock.
//
// Three clocks in integer nanoseconds: monotonic for waits, deadlines, limits and breakers (never
// goes back); boottime for ledger time (monotonic, and it counts suspended hours); wall (Unix time,
// UTC) for price windows, budgets' calendars and what people read. Only engine/, bindings/ and
// store/'s writer read one; limits/, cost/ and cache/ are given the time. SystemClock is safe for
// all threads. ManualClock is atomic, so that a test may move it while another thread reads.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluiceway {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t monotonic_ns() const = 0;
  virtual std::int64_t boottime_ns() const = 0;
  virtual std::int64_t wall_ns() const = 0;
};

class SystemClock final : public Clock {
 public:
  std::int64_t monotonic_ns() const override;
  std::int64_t boottime_ns() const override;
  std::int64_t wall_ns() const override;
  static SystemClock& instance();
};

class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t monotonic_ns = 0, std::int64_t wall_ns = 0)
      : monotonic_(monotonic_ns), boottime_(monotonic_ns), wall_(wall_ns) {}
  std::int64_t monotonic_ns() const override { return monotonic_.load(); }
  std::int64_t boottime_ns() const override { return boottime_.load(); }
  std::int64_t wall_ns() const override { return wall_.load(); }
  // Moves all three forward. `ns` >= 0.
  void advance(std::int64_t ns) {
    monotonic_ += ns;
    boottime_ += ns;
    wall_ += ns;
  }
  // Steps the wall clock alone, as NTP or an operator would; may be negative.
  void step_wall(std::int64_t ns) { wall_ += ns; }

 private:
  std::atomic<std::int64_t> monotonic_, boottime_, wall_;
};

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;

}  // namespace sluiceway
