// Holds in the file, by packs and one by one: see backend.h and hold_packs.h.
#include "store/hold_packs.h"
#include "store/sqlite_backend.h"

namespace sluiceway::store {

Status each_pack(Statement& packs, const UsePack& use) {
  const ResetAtEnd end(packs);
  for (;;) {
    StatusOr<bool> row = packs.step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    HoldPack pack;
    pack.id = packs.int_at(0);
    pack.owner = packs.int_at(1);
    pack.since_ns = packs.int_at(2);
    pack.segment = static_cast<std::int32_t>(packs.int_at(3));
    std::string_view rest = packs.blob_at(4);
    (void)decode_holds(rest, pack.holds);
    if (Status s = use(pack, rest); !s.ok()) return s;
  }
}

Status SqliteBackend::insert_hold_row(const HoldRow& row) {
  StatusOr<Statement*> sql = statement(kInsertHold);
  if (!sql.ok()) return sql.status();
  return (*sql)
      ->bind(row.call_id)
      .bind(row.amount)
      .bind(row.in_doubt ? 1 : 0)
      .bind(row.owner)
      .bind(row.since_ns)
      .bind(row.labels)
      .bind(row.segment)
      .bind_blob(row.balances)
      .run();
}

Status SqliteBackend::insert_hold(const HoldRow& row) {
  // A job's hold outlives its owner.
  if (row.in_doubt || row.owner == 0) return insert_hold_row(row);
  packs_.add(row);
  return absl::OkStatus();
}

StatusOr<bool> SqliteBackend::update_hold(const HoldRow& row) {
  if (std::optional<HoldRow> packed = packs_.find(row.call_id)) {
    if (!row.in_doubt && row.owner == packed->owner) {
      return packs_.set_amount(row.call_id, row.amount);
    }
    packed->amount = row.amount;
    packed->in_doubt = row.in_doubt;
    packed->owner = row.owner;
    if (row.in_doubt) packed->since_ns = row.since_ns;
    packs_.erase(row.call_id);
    if (Status s = insert_hold_row(*packed); !s.ok()) return s;
    return true;
  }
  StatusOr<Statement*> sql = statement(kUpdateHold);
  if (!sql.ok()) return sql.status();
  Status status = (*sql)
                      ->bind(row.amount)
                      .bind(row.in_doubt ? 1 : 0)
                      .bind(row.owner)
                      .bind(row.since_ns)
                      .bind(row.call_id)
                      .run();
  if (!status.ok()) return status;
  return db_.changes() == 1;
}

StatusOr<bool> SqliteBackend::delete_hold(const Id& call) {
  if (packs_.erase(call)) return true;
  StatusOr<Statement*> sql = statement(kDeleteHold);
  if (!sql.ok()) return sql.status();
  if (Status s = (*sql)->bind(call).run(); !s.ok()) return s;
  return db_.changes() == 1;
}

StatusOr<std::vector<HoldRow>> SqliteBackend::read_hold_rows(Statement& rows) {
  const ResetAtEnd end(rows);
  std::vector<HoldRow> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    HoldRow& hold = out.emplace_back();
    hold.call_id = rows.id_at(0);
    hold.amount = rows.int_at(1);
    hold.in_doubt = rows.int_at(2) != 0;
    hold.owner = rows.int_at(3);
    hold.since_ns = rows.int_at(4);
    hold.labels = rows.int_at(5);
    hold.segment = static_cast<std::int32_t>(rows.int_at(6));
    hold.balances = rows.blob_at(7);
  }
}

// The packs of the file that are not ours: those are here as the transaction has them.
Status SqliteBackend::each_other_pack(const UsePack& use) {
  StatusOr<Statement*> sql = statement(kListPacks);
  if (!sql.ok()) return sql.status();
  return each_pack(**sql, [&](HoldPack& pack, std::string_view rest) {
    return packs_.has_pack(pack.id) ? absl::OkStatus() : use(pack, rest);
  });
}

// Inside a transaction: the packs of one owner into memory, to be ended here. What of one cannot be
// read is taken aside, so that it does not stop the rest for ever.
Status SqliteBackend::take_packs(const std::function<bool(std::int64_t owner)>& wanted) {
  std::vector<std::pair<HoldPack, std::string>> torn;
  Status status = each_other_pack([&](HoldPack& pack, std::string_view rest) {
    if (!wanted(pack.owner)) return absl::OkStatus();
    if (rest.empty()) {
      packs_.adopt(std::move(pack));
    } else {
      torn.emplace_back(std::move(pack), rest);
    }
    return absl::OkStatus();
  });
  for (auto& [pack, rest] : torn) {
    if (!status.ok()) break;
    StatusOr<Statement*> sql = statement(kQuarantineRest);
    if (!sql.ok()) return sql.status();
    const Id made_up{static_cast<std::uint64_t>(pack.since_ns),
                     static_cast<std::uint64_t>(pack.id)};
    status = (*sql)
                 ->bind(made_up)
                 .bind(pack.since_ns)
                 .bind(pack.owner)
                 .bind(pack.segment)
                 .bind_blob(rest)
                 .run();
    packs_.touch(packs_.adopt(std::move(pack)));
  }
  return status;
}

// Where a transaction was lost, or at first: our own packs as the file has them.
Status SqliteBackend::know_packs() {
  packs_.begin();
  if (packs_known_) return absl::OkStatus();
  if (!own_owners_.empty()) {
    Status status = take_packs([&](std::int64_t owner) { return own_owners_.contains(owner); });
    if (!status.ok()) return status;
  }
  packs_known_ = true;
  return absl::OkStatus();
}

void SqliteBackend::forget_packs() {
  packs_.clear();
  packs_known_ = false;
}

Status SqliteBackend::write_packs() {
  for (HoldPack* pack : packs_.changed()) {
    if (pack->holds.empty() && pack->id == 0) continue;
    const Sql which = pack->holds.empty() ? kDeletePack : pack->id == 0 ? kInsertPack : kUpdatePack;
    StatusOr<Statement*> found = statement(which);
    if (!found.ok()) return found.status();
    Statement& sql = **found;
    if (which == kInsertPack) sql.bind(pack->owner).bind(pack->since_ns).bind(pack->segment);
    if (which != kDeletePack) {
      pack_rows_.clear();
      for (const PackedHold& hold : pack->holds) encode_hold(hold, pack_rows_);
      sql.bind(static_cast<std::int64_t>(pack->holds.size()));
      sql.bind(static_cast<std::int64_t>(pack->empty_holds())).bind_blob(pack_rows_);
    }
    if (which != kInsertPack) sql.bind(pack->id).bind(pack->owner);
    if (Status s = sql.run(); !s.ok()) return s;
    if (db_.changes() != 1) {
      return absl::DataLossError(
          to_absl("a pack of holds is not in the file: " + std::to_string(pack->id)));
    }
    if (which == kInsertPack) pack->id = db_.last_insert_id();
  }
  packs_.written();
  return absl::OkStatus();
}

StatusOr<std::optional<HoldRow>> SqliteBackend::find_hold(const Id& call) {
  if (std::optional<HoldRow> packed = packs_.find(call)) return packed;
  StatusOr<Statement*> sql = statement(kFindHold);
  if (!sql.ok()) return sql.status();
  StatusOr<std::vector<HoldRow>> rows = read_hold_rows((*sql)->bind(call));
  if (!rows.ok()) return rows.status();
  if (!rows->empty()) return std::optional<HoldRow>(std::move(rows->front()));
  std::optional<HoldRow> elsewhere;  // of another process
  Status status = each_other_pack([&](HoldPack& pack, std::string_view) {
    for (const PackedHold& hold : pack.holds) {
      if (hold.call_id == call) elsewhere = pack.row_of(hold);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return elsewhere;
}

StatusOr<std::vector<HoldRow>> SqliteBackend::list_holds(std::optional<std::int64_t> owner) {
  StatusOr<Statement*> sql = statement(owner ? kListOwnerHolds : kListHolds);
  if (!sql.ok()) return sql.status();
  if (owner) (*sql)->bind(*owner);
  StatusOr<std::vector<HoldRow>> rows = read_hold_rows(**sql);
  if (!rows.ok()) return rows.status();
  if (owner) {
    if (Status s = take_packs([&](std::int64_t of) { return of == *owner; }); !s.ok()) return s;
    packs_.list(owner, *rows);
    return rows;
  }
  packs_.list(std::nullopt, *rows);
  Status status = each_other_pack([&](HoldPack& pack, std::string_view) {
    for (const PackedHold& hold : pack.holds) rows->push_back(pack.row_of(hold));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return rows;
}

Status SqliteBackend::quarantine_hold(const Id& call, std::string_view reason,
                                      std::int64_t now_ns) {
  if (std::optional<HoldRow> packed = packs_.find(call)) {
    packs_.erase(call);
    if (Status s = insert_hold_row(*packed); !s.ok()) return s;
  }
  StatusOr<Statement*> sql = statement(kQuarantineHold);
  if (!sql.ok()) return sql.status();
  if (Status s = (*sql)->bind(reason).bind(now_ns).bind(call).run(); !s.ok()) return s;
  return delete_hold(call).status();
}

}  // namespace sluiceway::store
