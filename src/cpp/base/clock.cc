// The real clock: clock_gettime(2), Linux.
#include "base/clock.h"

#include <time.h>

namespace sluiceway {
namespace {

std::int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<std::int64_t>(now.tv_sec) * kNsPerSecond + now.tv_nsec;
}

}  // namespace

std::int64_t SystemClock::monotonic_ns() const { return read_clock(CLOCK_MONOTONIC); }
std::int64_t SystemClock::boottime_ns() const { return read_clock(CLOCK_BOOTTIME); }
std::int64_t SystemClock::wall_ns() const { return read_clock(CLOCK_REALTIME); }

SystemClock& SystemClock::instance() {
  static auto* clock = new SystemClock;  // never destroyed: threads may outlive static destruction
  return *clock;
}

}  // namespace sluiceway
