// Packs of holds in memory: see hold_packs.h.
#include "store/hold_packs.h"

#include <algorithm>

namespace sluiceway::store {

HoldRow HoldPack::row_of(const PackedHold& hold) const {
  HoldRow row;
  row.call_id = hold.call_id;
  row.amount = hold.amount;
  row.owner = owner;
  row.since_ns = since_ns;
  row.labels = hold.labels;
  row.segment = segment;
  row.balances = hold.balances;
  return row;
}

std::size_t HoldPack::empty_holds() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(holds, [](const PackedHold& hold) { return hold.amount == 0; }));
}

void HoldPacks::clear() {
  of_.clear();
  filling_.clear();
  changed_.clear();
  packs_.clear();
}

HoldPack& HoldPacks::insert(HoldPack pack) {
  auto& kept = packs_.emplace_back(std::make_unique<HoldPack>(std::move(pack)));
  kept->at = packs_.size() - 1;
  return *kept;
}

void HoldPacks::touch(HoldPack& pack) {
  if (pack.changed) return;
  pack.changed = true;
  changed_.push_back(&pack);
}

void HoldPacks::add(const HoldRow& row) {
  const auto fits = [&](const HoldPack* pack) {
    return pack->owner == row.owner && pack->since_ns == row.since_ns &&
           pack->segment == row.segment && pack->holds.size() < kHoldPackMax;
  };
  auto found = std::ranges::find_if(filling_, fits);
  if (found == filling_.end()) {
    HoldPack& fresh =
        insert({.owner = row.owner, .since_ns = row.since_ns, .segment = row.segment});
    fresh.holds.reserve(kHoldPackMax);
    filling_.push_back(&fresh);
    found = filling_.end() - 1;
  }
  HoldPack& pack = **found;
  pack.holds.push_back({row.call_id, row.amount, row.labels, row.balances});
  of_.insert_or_assign(row.call_id, &pack);
  touch(pack);
}

HoldPack& HoldPacks::adopt(HoldPack pack) {
  HoldPack& kept = insert(std::move(pack));
  for (const PackedHold& hold : kept.holds) of_.insert_or_assign(hold.call_id, &kept);
  return kept;
}

bool HoldPacks::has_pack(std::int64_t pack_id) const {
  return std::ranges::any_of(packs_, [&](const auto& pack) { return pack->id == pack_id; });
}

std::optional<HoldRow> HoldPacks::find(const Id& call) const {
  const auto it = of_.find(call);
  if (it == of_.end()) return std::nullopt;
  const HoldPack& pack = *it->second;
  return pack.row_of(*std::ranges::find(pack.holds, call, &PackedHold::call_id));
}

bool HoldPacks::erase(const Id& call) {
  const auto it = of_.find(call);
  if (it == of_.end()) return false;
  HoldPack& pack = *it->second;
  of_.erase(it);
  const auto hold = std::ranges::find(pack.holds, call, &PackedHold::call_id);
  if (hold != pack.holds.end() - 1) *hold = std::move(pack.holds.back());
  pack.holds.pop_back();
  touch(pack);
  return true;
}

bool HoldPacks::set_amount(const Id& call, Nanousd amount) {
  const auto it = of_.find(call);
  if (it == of_.end()) return false;
  HoldPack& pack = *it->second;
  std::ranges::find(pack.holds, call, &PackedHold::call_id)->amount = amount;
  touch(pack);
  return true;
}

void HoldPacks::list(std::optional<std::int64_t> owner, std::vector<HoldRow>& out) const {
  for (const auto& pack : packs_) {
    if (owner && pack->owner != *owner) continue;
    for (const PackedHold& hold : pack->holds) out.push_back(pack->row_of(hold));
  }
}

void HoldPacks::written() {
  for (HoldPack* pack : changed_) {
    pack->changed = false;
    if (!pack->holds.empty()) continue;
    std::erase(filling_, pack);
    const std::size_t at = pack->at;
    if (at + 1 != packs_.size()) {
      packs_[at] = std::move(packs_.back());
      packs_[at]->at = at;
    }
    packs_.pop_back();
  }
  changed_.clear();
}

}  // namespace sluiceway::store
