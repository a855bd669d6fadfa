// Ledger time: the clock that decides which budget window a call belongs to.
//
// Model. Nanoseconds of Unix time that advance by CLOCK_BOOTTIME from an anchor stored in the file,
// so that all processes of the machine agree, and that never go back. Every kAnchorInterval the
// anchor is compared with the wall clock: a difference of at most kAnchorReach is taken over (where
// the wall is behind, ledger time stands still until it has caught up); a larger one (someone set
// the clock, a year's jump) is only reported, and taken over on command. After a reboot, which
// boot_id tells, the anchor is the wall clock or the last stored time, whichever is later.
//
// Bounds: O(1). Threads: none of its own; the writer owns one. Time is a parameter.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace sluiceway::store {

// The row of the table `clock`.
struct ClockRow {
  std::int64_t ledger_ns = 0;  // of the last commit
  std::int64_t anchor_ledger_ns = 0;
  std::int64_t anchor_boot_ns = 0;
  std::string boot_id;  // /proc/sys/kernel/random/boot_id, empty in a new file
};

class LedgerTime {
 public:
  static constexpr std::int64_t kAnchorInterval = 300 * kNsPerSecond;
  static constexpr std::int64_t kAnchorReach = 300 * kNsPerSecond;

  // Takes over what the file says.
  void load(const ClockRow& row) { row_ = row; }
  const ClockRow& row() const { return row_; }

  // Ledger time now, which becomes the row's. Re-anchors as the model says; `command` takes over
  // any difference.
  std::int64_t advance(std::int64_t boot_ns, std::int64_t wall_ns, const std::string& boot_id,
                       bool command = false);
  // The same without changing the row: for reports.
  std::int64_t peek(std::int64_t boot_ns, std::int64_t wall_ns, const std::string& boot_id) const;

 private:
  ClockRow row_;
};

// Of this machine, read once; "unknown" where /proc is not there.
const std::string& machine_boot_id();

}  // namespace sluiceway::store
