// A wire format as data: where an answer's text, usage, error and end are.
//
// Model. registry.toml holds one table a dialect; a binding copies it into a DialectSpec of plain
// strings, and compile() turns every JSON pointer into its parsed form once. Reading an answer then
// costs look-ups only. The vocabulary is closed: JSON pointers (with the additions of
// parse/json_fields.h), event names, code rules, and "a - b + c" over pointers for usage buckets.
// What needs more is a named C++ function, not a language.
//
// Usage. Every distinct pointer of the usage table is a "raw" count. A stream may report raws in
// several events; the last value wins. A bucket is present when its first pointer is; later absent
// terms count zero; a negative sum is clamped to zero (a cached count larger than the input was
// seen from two providers). Bounds: at most kRawsMax distinct usage pointers. Immutable after
// compile(): any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/usage.h"
#include "engine/outcomes.h"
#include "limits/limit_group.h"
#include "parse/json_fields.h"
#include "parse/rate_headers.h"

namespace sluiceway::engine {

constexpr std::size_t kRawsMax = 24;

struct ClassRuleSpec {
  std::vector<int> statuses;              // empty: any
  std::vector<std::string> types, codes;  // empty: any
  std::string message;                    // substring; empty: any
  std::string failure;                    // a name of engine/outcomes.h
};

struct RateHeaderSpec {
  std::string dimension, remaining, reset, reset_format;
};

using EventPointers =
    std::vector<std::pair<std::string, std::string>>;  // event name or "*", pointer

struct DialectSpec {
  std::string name;
  std::string text, reasoning_text, finish_reason, model, created_s, id, request_id;
  std::string error_type, error_code, error_message, error_detail_code;
  std::string usage_cost_usd;
  std::vector<std::string> finish_cut, request_id_headers;
  std::vector<std::pair<std::string, std::string>> usage;  // bucket, expression
  std::vector<RateHeaderSpec> rate_headers;
  std::vector<ClassRuleSpec> classes;
  // Streams (server-sent events).
  std::string stream_end_data, stream_error_at;
  std::vector<std::string> stream_end_events, stream_error_events;
  EventPointers stream_text, stream_reasoning, stream_finish_reason, stream_usage_at, stream_model,
      stream_created_s, stream_id;
};

struct ClassRule {
  std::vector<int> statuses;
  std::vector<std::string> types, codes;
  std::string message;
  Failure failure;
};

struct RateHeader {
  limits::Dimension dimension;
  std::string remaining, reset;
  parse::ResetFormat reset_format;
};

// An optional pointer: absent where the dialect has no such field.
using MaybePointer = std::optional<parse::JsonPointer>;

struct UsageTerm {
  std::uint8_t raw;
  bool negative;
};
struct UsageExpression {
  Bucket bucket;
  std::vector<UsageTerm> terms;
};
// The raw counts seen so far.
struct RawUsage {
  std::array<std::int64_t, kRawsMax> value{};
  std::uint32_t present = 0;
  Nanousd reported_cost = -1;
};

struct EventField {
  std::string event;  // "*": every event
  parse::JsonPointer pointer;
  bool matches(std::string_view type) const { return event == "*" || event == type; }
};
struct EventUsage {
  std::string event;
  std::vector<parse::JsonPointer> raws;  // in the order of Dialect::raws
  MaybePointer cost;
};

struct Dialect {
  std::string name;
  MaybePointer text, reasoning_text, finish_reason, model, created_s, id, request_id;
  MaybePointer error_type, error_code, error_message, error_detail_code, usage_cost_usd;
  std::vector<std::string> finish_cut, request_id_headers;
  std::vector<parse::JsonPointer> raws;
  std::vector<UsageExpression> usage;
  std::vector<RateHeader> rate_headers;
  std::vector<ClassRule> classes;
  std::string stream_end_data;
  MaybePointer stream_error_at;
  std::vector<std::string> stream_end_events, stream_error_events;
  std::vector<EventField> stream_text, stream_reasoning, stream_finish_reason, stream_model,
      stream_created_s, stream_id;
  std::vector<EventUsage> stream_usage;

  // kInvalidArgument names the field that does not compile.
  static StatusOr<std::shared_ptr<const Dialect>> compile(const DialectSpec& spec);

  bool is_cut(std::string_view finish_reason_text) const;
  // The buckets that the raw counts come to.
  Usage usage_of(const RawUsage& raw) const;
};

}  // namespace sluiceway::engine
