// Entries as Arrow columns: bytes worked out by hand from the columnar format.
#include "engine/entry_columns.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

namespace sluiceway::engine {
namespace {

std::map<std::string, Column> by_name(std::vector<Column>&& columns) {
  std::map<std::string, Column> out;
  for (Column& column : columns) out.emplace(column.name, std::move(column));
  return out;
}

std::int64_t int_at(const Column& column, std::size_t row) {
  std::int64_t value = 0;
  std::memcpy(&value, column.values.data() + 8 * row, 8);
  return value;
}

std::string text_at(const Column& column, std::size_t row) {
  const auto from = static_cast<std::size_t>(column.offsets[row]);
  const auto to = static_cast<std::size_t>(column.offsets[row + 1]);
  return {column.values.begin() + static_cast<std::ptrdiff_t>(from),
          column.values.begin() + static_cast<std::ptrdiff_t>(to)};
}

TEST(EntryColumns, ValuesOffsetsAndValidity) {
  EntryColumns columns;
  store::Entry reserve;
  reserve.call_id = Id{0x01a2021fbe707001, 0x89a1211e55170465};
  reserve.amount = 70;
  reserve.time_ns = 5;
  reserve.labels = std::make_shared<store::CallLabels>(store::CallLabels{.model = "m-1"});
  reserve.scopes = {"video:42", "day:2026-11-22"};
  columns.add(reserve);
  store::Entry correct;
  correct.kind = store::EntryKind::kCorrect;
  correct.amount = -2;
  correct.overrun = true;
  correct.usage.set(Bucket::kOutput, 16);
  correct.usage.reported_cost_nanousd = 9;
  columns.add(correct);
  store::Entry credits;
  credits.labels = std::make_shared<store::CallLabels>(store::CallLabels{.unit = "credit"});
  credits.scopes = {"account:7"};
  columns.add(credits);
  EXPECT_EQ(columns.size(), 3);

  auto found = by_name(columns.take());
  EXPECT_EQ(text_at(found.at("call_id"), 0), "01a2021f-be70-7001-89a1-211e55170465");
  EXPECT_EQ(text_at(found.at("kind"), 1), "correct");
  EXPECT_EQ(text_at(found.at("model"), 0), "m-1");
  EXPECT_EQ(text_at(found.at("model"), 1), "");
  EXPECT_EQ(found.at("at").format, "tsn:UTC");
  EXPECT_EQ(int_at(found.at("at"), 0), 5);
  EXPECT_EQ(int_at(found.at("amount"), 1), -2);

  const Column& usd = found.at("usd");
  EXPECT_EQ(usd.format, "d:19,9");
  ASSERT_EQ(usd.values.size(), 48u);
  EXPECT_EQ(usd.values[0], 70);
  EXPECT_EQ(usd.values[8], 0);
  EXPECT_EQ(usd.values[16], 0xfe);  // -2 in 16 bytes, little endian
  for (int i = 17; i < 32; ++i) EXPECT_EQ(usd.values[static_cast<std::size_t>(i)], 0xff) << i;
  EXPECT_EQ(usd.nulls, 1);  // credits are no dollars
  EXPECT_EQ(usd.validity, std::vector<std::uint8_t>{0b011});

  const Column& scopes = found.at("scopes");
  EXPECT_EQ(scopes.offsets, (std::vector<std::int32_t>{0, 2, 2, 3}));
  EXPECT_EQ(text_at(scopes.children[0], 1), "day:2026-11-22");
  EXPECT_EQ(text_at(scopes.children[0], 2), "account:7");

  EXPECT_EQ(found.at("overrun").values, std::vector<std::uint8_t>{0b010});
  EXPECT_EQ(found.at("usage_output").validity, std::vector<std::uint8_t>{0b010});
  EXPECT_EQ(int_at(found.at("usage_output"), 1), 16);
  EXPECT_EQ(found.at("usage_input").nulls, 3);
  EXPECT_EQ(int_at(found.at("reported_cost_nanousd"), 1), 9);
  EXPECT_EQ(found.at("reported_cost_nanousd").nulls, 2);
}

TEST(EntryColumns, BatchesBeginAnew) {
  EntryColumns columns;
  const std::size_t fields = columns.take().size();
  EXPECT_EQ(fields, 22 + kBucketCount);
  for (int batch = 0; batch < 2; ++batch) {
    for (int i = 0; i < 9; ++i) columns.add(store::Entry{});
    const auto found = by_name(columns.take());
    EXPECT_EQ(columns.size(), 0);
    for (const auto& [name, column] : found) {
      EXPECT_EQ(column.length, 9) << name;
      if (column.format == "u" || column.format == "+l") {
        EXPECT_EQ(column.offsets.size(), 10u) << name;
      }
      if (column.format == "b") {
        EXPECT_EQ(column.values.size(), 2u) << name;
      }
      if (column.nullable) {
        EXPECT_EQ(column.validity.size(), 2u) << name;
      }
    }
  }
}

}  // namespace
}  // namespace sluiceway::engine
