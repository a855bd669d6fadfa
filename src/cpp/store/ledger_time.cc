// Ledger time: see ledger_time.h.
#include "store/ledger_time.h"

#include <algorithm>
#include <fstream>

namespace sluiceway::store {

std::int64_t LedgerTime::advance(std::int64_t boot_ns, std::int64_t wall_ns,
                                 const std::string& boot_id, bool command) {
  if (row_.boot_id != boot_id || boot_ns < row_.anchor_boot_ns) {
    row_.boot_id = boot_id;
    row_.anchor_boot_ns = boot_ns;
    row_.anchor_ledger_ns = std::max(wall_ns, row_.ledger_ns);
  }
  const std::int64_t elapsed = boot_ns - row_.anchor_boot_ns;
  const std::int64_t skew = wall_ns - (row_.anchor_ledger_ns + elapsed);
  const bool near = skew >= -kAnchorReach && skew <= kAnchorReach;
  if (command || (near && elapsed >= kAnchorInterval)) {
    row_.anchor_boot_ns = boot_ns;
    row_.anchor_ledger_ns = wall_ns;
  }
  const std::int64_t now = row_.anchor_ledger_ns + (boot_ns - row_.anchor_boot_ns);
  row_.ledger_ns = std::max(row_.ledger_ns, now);
  return row_.ledger_ns;
}

std::int64_t LedgerTime::peek(std::int64_t boot_ns, std::int64_t wall_ns,
                              const std::string& boot_id) const {
  LedgerTime copy = *this;
  return copy.advance(boot_ns, wall_ns, boot_id);
}

const std::string& machine_boot_id() {
  static const auto* id = [] {
    auto* text = new std::string;
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    if (!std::getline(file, *text) || text->empty()) *text = "unknown";
    return text;
  }();
  return *id;
}

}  // namespace sluiceway::store
