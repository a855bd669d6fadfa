// UUIDv7: see ids.h.
#include "base/ids.h"

#include "base/text.h"

namespace sluiceway {

Id IdGenerator::next(std::int64_t wall_ns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto ms = static_cast<std::uint64_t>(wall_ns > 0 ? wall_ns / 1'000'000 : 0);
  const std::uint64_t stamp = (ms << 12);
  last_ = stamp > last_ ? stamp : last_ + 1;
  Id id;
  id.high = ((last_ >> 12) << 16) | 0x7000 | (last_ & 0xfff);
  id.low = (random_.next() >> 2) | 0x8000000000000000ULL;
  return id;
}

void Id::to_bytes(unsigned char out[16]) const {
  for (int i = 0; i < 8; ++i) {
    out[i] = static_cast<unsigned char>(high >> (56 - 8 * i));
    out[8 + i] = static_cast<unsigned char>(low >> (56 - 8 * i));
  }
}

Id Id::from_bytes(const unsigned char in[16]) {
  Id id;
  for (int i = 0; i < 8; ++i) {
    id.high = (id.high << 8) | in[i];
    id.low = (id.low << 8) | in[8 + i];
  }
  return id;
}

std::string Id::text() const {
  unsigned char bytes[16];
  to_bytes(bytes);
  std::string hex = to_hex(bytes, sizeof(bytes));
  for (const int at : {8, 13, 18, 23}) hex.insert(static_cast<std::size_t>(at), 1, '-');
  return hex;
}

std::optional<Id> Id::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  unsigned char bytes[16];
  int nibbles = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return std::nullopt;
      continue;
    }
    int value = 0;
    if (c >= '0' && c <= '9')
      value = c - '0';
    else if (c >= 'a' && c <= 'f')
      value = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
      value = c - 'A' + 10;
    else
      return std::nullopt;
    auto& byte = bytes[nibbles / 2];
    byte = static_cast<unsigned char>(nibbles % 2 == 0 ? value << 4 : byte | value);
    ++nibbles;
  }
  return from_bytes(bytes);
}

}  // namespace sluiceway
