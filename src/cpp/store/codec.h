// The small blobs in ledger rows: which balances a call counts in, what it used, which rows a
// commit wrote, and the holds of a pack.
//
// Model. LEB128 varints. Balances: their row numbers, one after the other; a slot of a rolling
// scope is a zero, the number of the scope's anchor row and the slot, so that slots can be dropped.
// Usage: the bitmask of present buckets shifted left by one with the lowest bit telling that a
// reported cost follows at the end, then each present bucket's count, zigzag coded. 10 to 15 bytes
// for a chat call.
//
// Bounds: O(bytes); decoding never reads past its end and refuses what is cut or too long. Threads:
// pure functions. Source of the coding: Protocol Buffers, "Encoding" (read 2026-11-22).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/money.h"
#include "base/usage.h"

namespace sluiceway::store {

struct BalanceRef {
  std::int64_t id = 0;     // > 0: a row of the table balances
  std::int64_t slot = -1;  // >= 0: that slot of the rolling scope whose anchor the row is
  auto operator<=>(const BalanceRef&) const = default;
};

// Appends to `out`.
void encode_balances(std::span<const BalanceRef> refs, std::string& out);
// False where the blob is malformed.
bool decode_balances(std::string_view blob, std::vector<BalanceRef>& refs);

// One row that a commit wrote, for the log of commits: its key, and its month where that is not the
// commit's own.
struct EntryRef {
  Id call_id;
  std::int32_t attempt = 0;
  std::uint8_t kind = 0;
  std::int32_t segment = 0;
};

// Appends 17 bytes or more.
void encode_entry_ref(const EntryRef& ref, std::int32_t own_segment, std::string& out);
bool decode_entry_refs(std::string_view blob, std::int32_t own_segment,
                       std::vector<EntryRef>& refs);

// A hold of a pack (hold_packs.h): what it does not share with the others.
struct PackedHold {
  Id call_id;
  Nanousd amount = 0;       // at least 0
  std::int64_t labels = 0;  // 0: none
  std::string balances;     // a blob as above
};

// Appends some 25 bytes.
void encode_hold(const PackedHold& hold, std::string& out);
// Appends to `holds`. False where the blob is malformed; `blob` is then what could not be read.
bool decode_holds(std::string_view& blob, std::vector<PackedHold>& holds);

// Appends nothing where the usage is empty.
void encode_usage(const Usage& usage, std::string& out);
bool decode_usage(std::string_view blob, Usage& usage);

}  // namespace sluiceway::store
