// Varint blobs: see codec.h.
#include "store/codec.h"

namespace sluiceway::store {
namespace {

void put_varint(std::uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

bool take_varint(std::string_view& blob, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !blob.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(blob.front());
    blob.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

}  // namespace

void encode_balances(std::span<const BalanceRef> refs, std::string& out) {
  for (const BalanceRef& ref : refs) {
    if (ref.slot >= 0) out.push_back('\0');
    put_varint(static_cast<std::uint64_t>(ref.id), out);
    if (ref.slot >= 0) put_varint(static_cast<std::uint64_t>(ref.slot), out);
  }
}

bool decode_balances(std::string_view blob, std::vector<BalanceRef>& refs) {
  refs.clear();
  while (!blob.empty()) {
    std::uint64_t id = 0, slot = 0;
    if (!take_varint(blob, id)) return false;
    const bool rolling = id == 0;
    if (rolling && (!take_varint(blob, id) || !take_varint(blob, slot))) return false;
    if (id == 0 || id > INT64_MAX || slot > INT64_MAX) return false;
    refs.push_back({static_cast<std::int64_t>(id), rolling ? static_cast<std::int64_t>(slot) : -1});
  }
  return true;
}

void encode_entry_ref(const EntryRef& ref, std::int32_t own_segment, std::string& out) {
  unsigned char id[16];
  ref.call_id.to_bytes(id);
  out.append(reinterpret_cast<const char*>(id), sizeof id);
  const bool other = ref.segment != own_segment;
  put_varint((static_cast<std::uint64_t>(static_cast<std::uint32_t>(ref.attempt)) << 5) |
                 (static_cast<std::uint64_t>(ref.kind & 0xfu) << 1) | (other ? 1u : 0u),
             out);
  if (other) put_varint(static_cast<std::uint64_t>(ref.segment), out);
}

bool decode_entry_refs(std::string_view blob, std::int32_t own_segment,
                       std::vector<EntryRef>& refs) {
  while (!blob.empty()) {
    if (blob.size() < 17) return false;
    EntryRef& ref = refs.emplace_back();
    ref.call_id = Id::from_bytes(reinterpret_cast<const unsigned char*>(blob.data()));
    blob.remove_prefix(16);
    std::uint64_t value = 0, segment = static_cast<std::uint64_t>(own_segment);
    if (!take_varint(blob, value)) return false;
    if ((value & 1) != 0 && !take_varint(blob, segment)) return false;
    ref.kind = static_cast<std::uint8_t>((value >> 1) & 0xf);
    ref.attempt = static_cast<std::int32_t>(value >> 5);
    ref.segment = static_cast<std::int32_t>(segment);
  }
  return true;
}

void encode_hold(const PackedHold& hold, std::string& out) {
  unsigned char id[16];
  hold.call_id.to_bytes(id);
  out.append(reinterpret_cast<const char*>(id), sizeof id);
  put_varint(static_cast<std::uint64_t>(hold.amount), out);
  put_varint(static_cast<std::uint64_t>(hold.labels), out);
  put_varint(hold.balances.size(), out);
  out.append(hold.balances);
}

bool decode_holds(std::string_view& blob, std::vector<PackedHold>& holds) {
  while (!blob.empty()) {
    std::string_view rest = blob;
    if (rest.size() < 16) return false;
    PackedHold hold;
    hold.call_id = Id::from_bytes(reinterpret_cast<const unsigned char*>(rest.data()));
    rest.remove_prefix(16);
    std::uint64_t amount = 0, labels = 0, size = 0;
    if (!take_varint(rest, amount) || !take_varint(rest, labels) || !take_varint(rest, size)) {
      return false;
    }
    if (amount > INT64_MAX || labels > INT64_MAX || size > rest.size()) return false;
    hold.amount = static_cast<Nanousd>(amount);
    hold.labels = static_cast<std::int64_t>(labels);
    hold.balances = rest.substr(0, size);
    rest.remove_prefix(size);
    holds.push_back(std::move(hold));
    blob = rest;
  }
  return true;
}

void encode_usage(const Usage& usage, std::string& out) {
  const bool reported = usage.reported_cost_nanousd >= 0;
  if (!usage.any() && !reported) return;
  put_varint((static_cast<std::uint64_t>(usage.present) << 1) | (reported ? 1 : 0), out);
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if ((usage.present >> i) & 1u) put_varint(zigzag(usage.units[i]), out);
  }
  if (reported) put_varint(zigzag(usage.reported_cost_nanousd), out);
}

bool decode_usage(std::string_view blob, Usage& usage) {
  usage = Usage{};
  if (blob.empty()) return true;
  std::uint64_t value = 0;
  if (!take_varint(blob, value) || (value >> 1) >> kBucketCount != 0) return false;
  const bool reported = (value & 1) != 0;
  usage.present = static_cast<std::uint32_t>(value >> 1);
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (((usage.present >> i) & 1u) == 0) continue;
    if (!take_varint(blob, value)) return false;
    usage.units[i] = unzigzag(value);
  }
  if (reported) {
    if (!take_varint(blob, value)) return false;
    usage.reported_cost_nanousd = unzigzag(value);
  }
  return blob.empty();
}

}  // namespace sluiceway::store
