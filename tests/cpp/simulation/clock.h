// The three clocks of a simulated machine, and what goes wrong with clocks.
//
// Model. True time moves by advance() alone and never stops; it is what the provider lives by. The
// machine's monotonic, boot and wall clocks follow it, but may freeze, and the wall clock may step.
// suspend() is a lid that was closed: boot time and wall time jump, monotonic time does not.
// reboot() starts monotonic and boot time again near zero. elapsed_ns() is monotonic time added up
// over reboots and jumps forward: what a limiter can measure. One thread.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "support/units.h"

namespace sluiceway::simulation {

constexpr std::int64_t kDay = 86'400 * kSecond;
// 2026-11-22T00:00:00Z.
constexpr std::int64_t kWallStart = 1'795'305'600 * kSecond;

class SimClock final : public Clock {
 public:
  std::int64_t monotonic_ns() const override { return monotonic_; }
  std::int64_t boottime_ns() const override { return boottime_; }
  std::int64_t wall_ns() const override { return wall_; }
  std::int64_t true_ns() const { return true_; }
  std::int64_t elapsed_ns() const { return elapsed_; }
  bool frozen() const { return frozen_; }

  void advance(std::int64_t ns) {
    true_ += ns;
    if (!frozen_) move(ns);
  }
  void freeze() { frozen_ = true; }
  // `caught_up_ns`: how much of the frozen time the clocks make good at once.
  void thaw(std::int64_t caught_up_ns) {
    frozen_ = false;
    move(caught_up_ns);
  }
  void step_wall(std::int64_t ns) { wall_ += ns; }
  void suspend(std::int64_t ns) {
    boottime_ += ns;
    wall_ += ns;
  }
  // Everything jumps, as seen by a machine that was stopped as a whole (a paused virtual machine).
  void jump(std::int64_t ns) { move(ns); }
  // Monotonic and boot time step back: no kernel does it, some virtual machines have.
  void step_back(std::int64_t ns) {
    monotonic_ = monotonic_ > ns ? monotonic_ - ns : 1;
    boottime_ = boottime_ > ns ? boottime_ - ns : 1;
  }
  void reboot() {
    monotonic_ = boottime_ = kSecond;
    frozen_ = false;
  }

 private:
  void move(std::int64_t ns) {
    monotonic_ += ns;
    boottime_ += ns;
    wall_ += ns;
    elapsed_ += ns;
  }
  std::int64_t true_ = 0, elapsed_ = 0;
  std::int64_t monotonic_ = 3'600 * kSecond, boottime_ = 3'700 * kSecond;
  std::int64_t wall_ = kWallStart;
  bool frozen_ = false;
};

}  // namespace sluiceway::simulation
