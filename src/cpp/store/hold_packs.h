// Open holds, those of one commit together: a row a pack in place of a row a hold.
//
// Model. Most holds live for one round of a provider: the commit after the next ends all of those
// that one commit made. What was reserved in a commit for one owner is therefore one row of the
// table `hold_packs` (at most kHoldPackMax holds, blobs of codec.h), which is written again where
// some have ended, and deleted with the last of them. The file always has exactly the holds that
// are open. A pack is changed by its owner's process alone, or by whoever finds the owner dead, so
// the writer keeps its own packs here and reads them only after a transaction was lost. What lives
// on without an owner (doubt, jobs) is a row of the table `holds`.
//
// Not chosen: a row a hold, as versions 1 to 3 had. An insertion and a deletion a call were a
// seventh of the ledger's work (docs/decisions/0016).
//
// Bounds: some 100 bytes a hold; O(1) each, and kHoldPackMax comparisons. Threads: the writer's.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "store/backend.h"
#include "store/codec.h"

namespace sluiceway::store {

constexpr std::size_t kHoldPackMax = 64;  // some 1.7 kB: a row inside a page

struct HoldPack {
  std::int64_t id = 0;  // of its row; 0: it has none yet
  std::int64_t owner = 0;
  std::int64_t since_ns = 0;
  std::int32_t segment = 0;
  std::vector<PackedHold> holds;
  bool changed = false;
  std::size_t at = 0;  // where HoldPacks has it

  HoldRow row_of(const PackedHold& hold) const;
  std::size_t empty_holds() const;  // that hold nothing
};

class HoldPacks {
 public:
  void clear();
  // A new transaction: packs of earlier ones are not filled any more.
  void begin() { filling_.clear(); }
  void add(const HoldRow& row);
  // One that the file has, as it has it.
  HoldPack& adopt(HoldPack pack);
  bool has_pack(std::int64_t pack_id) const;

  std::optional<HoldRow> find(const Id& call) const;
  bool erase(const Id& call);                       // false: it is not here
  bool set_amount(const Id& call, Nanousd amount);  // false: it is not here
  // Appends all, or those of one owner.
  void list(std::optional<std::int64_t> owner, std::vector<HoldRow>& out) const;

  // It is to be written anew.
  void touch(HoldPack& pack);
  // To be written; then written() forgets those that are empty.
  std::span<HoldPack* const> changed() const { return changed_; }
  void written();

 private:
  HoldPack& insert(HoldPack pack);

  std::vector<std::unique_ptr<HoldPack>> packs_;
  absl::flat_hash_map<Id, HoldPack*, IdHash> of_;  // by call
  std::vector<HoldPack*> filling_, changed_;
};

}  // namespace sluiceway::store
