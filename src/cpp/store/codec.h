// The two small blobs in ledger rows: which balances a call counts in, and what it used.
//
// Model. LEB128 varints. Balances: their row numbers, one after the other. Usage: the bitmask of
// present buckets shifted left by one with the lowest bit telling that a reported cost follows at
// the end, then each present bucket's count, zigzag coded. 10 to 15 bytes for a chat call.
//
// Bounds: O(bytes); decoding never reads past its end and refuses what is cut or too long. Threads:
// pure functions. Source of the coding: Protocol Buffers, "Encoding" (read 2026-11-22).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/usage.h"

namespace sluiceway::store {

// Appends to `out`.
void encode_balances(std::span<const std::int64_t> ids, std::string& out);
// False where the blob is malformed.
bool decode_balances(std::string_view blob, std::vector<std::int64_t>& ids);

// Appends nothing where the usage is empty.
void encode_usage(const Usage& usage, std::string& out);
bool decode_usage(std::string_view blob, Usage& usage);

}  // namespace sluiceway::store
