// Closed months moved out of a ledger into a file of their own.
//
// Model. An archive is a SQLite file with the ledger's own tables: the entries of its months, and
// of labels, prices, scopes and balances what they name, so that it can be read and proven alone. A
// month is closed when ledger time has left it and no hold of it is open. It is copied in short
// read transactions beside the running ledger, committed and synced, read back and compared by a
// digest; only then one commit of the ledger drops its table, and keeps what it had posted to each
// balance
// (`archived`) and granted (`archived_grants`), so that verify() stays exact. Entries are never
// changed, so that an equal number of rows means that nothing was added meanwhile. After a crash in
// between both have the month, and the next run with the same path compares and drops it.
//
// Bounds: O(entries), a few hundred thousand a second; memory: the names of a month. Of the
// ledger's turn it takes one count of the month's rows and the drop. Threads: ArchiveFile: one.
//
//   ledger->archive("2026-09", "sluiceway-until-2026-08.db");
//   read_archive("sluiceway-until-2026-08.db", {}, [](std::span<const Entry> rows) { ... });
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/sqlite_db.h"
#include "store/verify.h"

namespace sluiceway::store {

constexpr std::int64_t kArchiveApplicationId = 0x736c757a;  // "sluz"

// What the rows of a month are and say together.
class SegmentScan {
 public:
  explicit SegmentScan(std::int32_t segment) : segment_(segment) {}

  // The next rows after the last one seen, at most `count`, in one read transaction of `from`; each
  // is also handed to `use`. False: that was the end.
  StatusOr<bool> step(Connection& from, std::size_t count,
                      const std::function<Status(const Statement&)>& use);
  std::int32_t segment() const { return segment_; }
  std::int64_t rows() const { return rows_; }
  std::uint64_t digest() const { return digest_; }  // FNV-1a over all columns, in key order
  // After the last step. DataLoss: the rows of a call do not make sense, or it has not ended.
  StatusOr<MonthSums> sums() { return replay_.month_sums(); }

  std::set<std::int64_t> labels, prices;  // named by the rows

 private:
  void add(const Statement& row);

  const std::int32_t segment_;
  std::int64_t rows_ = 0;
  std::uint64_t digest_ = 14695981039346656037ull;
  Id last_call_;
  std::int64_t last_attempt_ = 0, last_kind_ = 0;
  Replay replay_;
};

class ArchiveFile {
 public:
  // Makes the file where there is none. InvalidArgument: it is something else, or of another
  // ledger.
  static StatusOr<std::unique_ptr<ArchiveFile>> open(const std::string& path,
                                                     std::string_view ledger_id);

  // Copies a month from the ledger, reads it back and compares. An older copy of it is replaced.
  // `ledger` may be used by others between two steps, under `mutex`.
  StatusOr<MonthSums> add_month(Connection& ledger, std::mutex& mutex, SegmentScan& scan);

 private:
  Status copy(Connection& ledger, std::mutex& mutex, SegmentScan& scan);
  Status copy_names(Connection& ledger, const SegmentScan& scan, const MonthSums& sums);
  Status add_sums(const MonthSums& sums, int sign);
  StatusOr<bool> remove_month(std::int32_t segment);
  Status sync_directory() const;

  std::string path_;
  Connection db_;
};

}  // namespace sluiceway::store
