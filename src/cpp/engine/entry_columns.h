// Ledger entries as columns in Arrow's memory layout.
//
// Model. A column is what Arrow's columnar format calls an array: values back to back, offsets for
// texts and lists, a bitmap of what is valid. EntryColumns appends entries and hands out a batch of
// columns when asked; the names, order and formats are the same for every batch. Amounts are int64
// in the row's unit, `usd` a decimal128 with nine decimals (null where the unit is a credit), times
// Unix nanoseconds in UTC, ids and kinds text, `scopes` a list of texts, usage one nullable int64
// column a bucket.
//
// Bounds: O(1) amortised an entry, some 250 bytes; texts of one batch at most 2 GB, which callers
// keep by taking batches of 65,536. Threads: none.
//
//   EntryColumns columns;
//   for (const store::Entry& entry : rows) columns.add(entry);
//   std::vector<Column> batch = columns.take();
//
// Source: Apache Arrow, "Columnar format" and "The Arrow C data interface" (format strings), 1.5,
// read 2026-11-22.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/ledger.h"

namespace sluiceway::engine {

struct Column {
  std::string name;
  std::string format;     // as in ArrowSchema: "u", "l", "i", "b", "tsn:UTC", "d:19,9", "+l"
  bool nullable = false;  // then `validity` has a bit a row
  std::int64_t length = 0, nulls = 0;
  std::vector<std::uint8_t> validity;
  std::vector<std::int32_t> offsets;  // "u" and "+l": length + 1 of them
  std::vector<std::uint8_t> values;   // little endian; of "b" a bitmap
  std::vector<Column> children;       // "+l": the items

  void add_text(std::string_view text);
  void add_int(std::int64_t value);  // "l", "i", "tsn:UTC", "d:19,9", "b"
  void add_null();                   // nullable columns of fixed width
  void end_list();                   // "+l": what was added to children[0] since is one list

 private:
  void valid(bool is);
  std::size_t width() const;
};

class EntryColumns {
 public:
  EntryColumns();
  void add(const store::Entry& entry);
  std::int64_t size() const { return size_; }
  // The batch, and an empty one begins. The columns of an empty batch are the schema.
  std::vector<Column> take();

 private:
  std::vector<Column> columns_;
  std::int64_t size_ = 0;
};

}  // namespace sluiceway::engine
