// Appending to columns: see entry_columns.h.
#include "engine/entry_columns.h"

#include <utility>

namespace sluiceway::engine {
namespace {

struct Field {
  std::string_view name, format;
  bool nullable = false;
};

// In the order in which EntryColumns::add() fills them; then the buckets.
constexpr Field kFields[] = {{"call_id", "u"},
                             {"kind", "u"},
                             {"attempts", "i"},
                             {"at", "tsn:UTC"},
                             {"unit", "u"},
                             {"amount", "l"},
                             {"usd", "d:19,9", true},
                             {"provider", "u"},
                             {"model", "u"},
                             {"operation", "u"},
                             {"tenant", "u"},
                             {"account", "u"},
                             {"tags", "u"},
                             {"scopes", "+l"},
                             {"price_version", "u"},
                             {"reported_cost_nanousd", "l", true},
                             {"estimated", "b"},
                             {"overrun", "b"},
                             {"latency_ns", "l"},
                             {"intent_id", "u"},
                             {"provider_request_id", "u"},
                             {"evidence", "u"}};

Column make_column(std::string name, std::string_view format, bool nullable) {
  Column column;
  column.name = std::move(name);
  column.format = format;
  column.nullable = nullable;
  if (format == "u" || format == "+l") column.offsets.push_back(0);
  if (format == "+l") column.children.push_back(make_column("item", "u", false));
  return column;
}

std::vector<Column> make_columns() {
  std::vector<Column> out;
  for (const Field& field : kFields) {
    out.push_back(make_column(std::string(field.name), field.format, field.nullable));
  }
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const std::string name = "usage_" + std::string(bucket_name(static_cast<Bucket>(i)));
    out.push_back(make_column(name, "l", true));
  }
  return out;
}

void put_bit(std::vector<std::uint8_t>& bits, std::int64_t at, bool value) {
  if (at % 8 == 0) bits.push_back(0);
  if (value) bits.back() = static_cast<std::uint8_t>(bits.back() | 1u << (at % 8));
}

}  // namespace

std::size_t Column::width() const {
  if (format == "i") return 4;
  return format.starts_with("d:") ? 16 : 8;
}

void Column::valid(bool is) {
  if (nullable) put_bit(validity, length, is);
  nulls += is ? 0 : 1;
  ++length;
}

void Column::add_text(std::string_view text) {
  values.insert(values.end(), text.begin(), text.end());
  offsets.push_back(static_cast<std::int32_t>(values.size()));
  valid(true);
}

void Column::add_int(std::int64_t value) {
  if (format == "b") {
    put_bit(values, length, value != 0);
  } else {
    const std::size_t bytes = width();
    for (std::size_t i = 0; i < bytes; ++i) {  // sign-extended beyond the eighth byte
      const unsigned shift = i < 8 ? static_cast<unsigned>(8 * i) : 63;
      values.push_back(static_cast<std::uint8_t>(value >> shift & 0xff));
    }
  }
  valid(true);
}

void Column::add_null() {
  values.insert(values.end(), width(), 0);
  valid(false);
}

void Column::end_list() {
  offsets.push_back(static_cast<std::int32_t>(children[0].length));
  valid(true);
}

EntryColumns::EntryColumns() : columns_(make_columns()) {}

void EntryColumns::add(const store::Entry& entry) {
  static const store::CallLabels none;
  const store::CallLabels& labels = entry.labels == nullptr ? none : *entry.labels;
  const bool money = labels.unit == none.unit;
  auto column = columns_.begin();
  column++->add_text(entry.call_id.text());
  column++->add_text(store::entry_kind_name(entry.kind));
  column++->add_int(entry.attempt);
  column++->add_int(entry.time_ns);
  column++->add_text(labels.unit);
  column++->add_int(entry.amount);
  money ? column++->add_int(entry.amount) : column++->add_null();
  for (const std::string* text : {&labels.provider, &labels.model, &labels.operation,
                                  &labels.tenant, &labels.account, &labels.tags}) {
    column++->add_text(*text);
  }
  for (const std::string& scope : entry.scopes) column->children[0].add_text(scope);
  column++->end_list();
  column++->add_text(entry.price_version);
  const Nanousd reported = entry.usage.reported_cost_nanousd;
  reported >= 0 ? column++->add_int(reported) : column++->add_null();
  column++->add_int(entry.estimated);
  column++->add_int(entry.overrun);
  column++->add_int(entry.latency_ns);
  column++->add_text(entry.intent_id.empty() ? std::string() : entry.intent_id.text());
  column++->add_text(entry.provider_request_id);
  column++->add_text(entry.evidence);
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    entry.usage.has(bucket) ? column++->add_int(entry.usage.get(bucket)) : column++->add_null();
  }
  ++size_;
}

std::vector<Column> EntryColumns::take() {
  size_ = 0;
  return std::exchange(columns_, make_columns());
}

}  // namespace sluiceway::engine
