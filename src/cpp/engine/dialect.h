// A wire format as data: where an answer's text, usage, error and end are.
//
// Model. registry.toml holds one table a dialect; a binding copies it into a DialectSpec of plain
// strings, and compile() turns every JSON pointer into its parsed form once. Reading an answer then
// costs look-ups only. The vocabulary is closed: JSON pointers (with the additions of
// parse/json_fields.h), event names, code rules, and "a - b + c" over pointers for usage buckets.
// What needs more is a named C++ function, not a language.
//
// Usage. Every distinct pointer of the usage table is a "raw" count. A stream may report raws in
// several events; the last value wins and nothing is added up. A term of an expression is
//   /a/b      the count there; of buckets in thousandths (seconds, megapixels, credits) also "12.5"
//   #/a/b     how many values match there: searches that are only listed
//   request   alone: what was counted before sending (characters of a text to speak)
// A bucket is present when its first pointer is; later absent terms count zero. Null, a fraction,
// a count below zero and one above kCountMax are no counts: absent, never zero. A subtracted count
// that is larger than what it should lie inside of lies outside (cached tokens beside the input,
// reasoning beside the output: both were seen), and is not subtracted; a sum below zero is zero.
//
// Reported cost. The first of the pointers with an amount wins: dollars as a decimal number or
// text, or ticks of 10^-10 dollars; exact to nine digits, beyond them rounded half to even. Amounts
// below zero and above kReportedCostMax are not believed.
//
// Use beyond the buckets. Where one of the pointers of `usage_beyond` matches, the answer reports
// use that the buckets do not hold (another model's tokens): then the table has no price for it.
//
// Served tier. Rules say which words of the answer name a tier of the price rows. The first rule
// that gives a tier other than the standard one decides; a word that is not listed says nothing.
//
// Bounds: at most kRawsMax distinct usage pointers. Immutable after compile(): any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
constexpr std::size_t kTierRulesMax = 4;
constexpr std::int64_t kCountMax = 1'000'000'000'000;        // no call has a trillion of anything
constexpr Nanousd kReportedCostMax = 1'000'000'000'000'000;  // $1,000,000

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

struct ServedTierSpec {
  std::string at;                                          // pointer to the answer's word
  std::vector<std::pair<std::string, std::string>> tiers;  // word, tier of the price rows
};

struct DialectSpec {
  std::string name;
  std::string text, reasoning_text, finish_reason, model, created_s, id, request_id;
  std::string error_type, error_code, error_message, error_detail_code;
  std::vector<std::string> usage_cost_usd, usage_cost_ticks, usage_beyond;
  std::vector<std::string> finish_cut, request_id_headers;
  std::vector<std::pair<std::string, std::string>> usage;  // bucket, expression
  std::vector<ServedTierSpec> served_tier;
  std::vector<RateHeaderSpec> rate_headers;
  std::vector<ClassRuleSpec> classes;
  // Streams (server-sent events).
  std::string stream_end_data, stream_error_at, stream_type_at;
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
  std::vector<UsageTerm> terms;  // empty: counted before sending
};

// Where one raw count is and how it is written.
enum class RawKind : std::uint8_t { kCount, kThousandths, kMatches };
struct RawField {
  parse::JsonPointer pointer;
  RawKind kind;
};
struct CostField {
  parse::JsonPointer pointer;
  int exponent;  // the amount is in units of 10^exponent dollars
};
// All that is read about usage, below one prefix: of whole answers, or of one event.
struct UsageFields {
  std::vector<RawField> raws;
  std::vector<CostField> costs;
  std::vector<parse::JsonPointer> tiers;  // one a rule of Dialect::served_tier
  std::vector<parse::JsonPointer> beyond;
};

// The raw counts seen so far.
struct RawUsage {
  std::array<std::int64_t, kRawsMax> value{};
  std::uint32_t present = 0;
  Nanousd reported_cost = -1;
  std::array<std::int8_t, kTierRulesMax> tier_words{-1, -1, -1, -1};  // index into a rule, or -1
  bool beyond = false;
  bool anything() const { return present != 0 || reported_cost >= 0; }
  // What `later` reports replaces what was seen before it.
  void take(const RawUsage& later);
};

struct EventField {
  std::string event;  // "*": every event
  parse::JsonPointer pointer;
  bool matches(std::string_view type) const { return event == "*" || event == type; }
};
struct EventUsage {
  std::string event;
  UsageFields fields;
};
using TierWords = std::vector<std::pair<std::string, std::string>>;  // word, tier

struct Dialect {
  std::string name;
  MaybePointer text, reasoning_text, finish_reason, model, created_s, id, request_id;
  MaybePointer error_type, error_code, error_message, error_detail_code;
  std::vector<std::string> finish_cut, request_id_headers;
  UsageFields fields;
  std::vector<UsageExpression> usage;
  std::vector<TierWords> served_tier;
  std::vector<RateHeader> rate_headers;
  std::vector<ClassRule> classes;
  std::string stream_end_data;
  MaybePointer stream_error_at;
  MaybePointer stream_type_at;  // where an event says its own name; before its `event:` line
  std::vector<std::string> stream_end_events, stream_error_events;
  std::vector<EventField> stream_text, stream_reasoning, stream_finish_reason, stream_model,
      stream_created_s, stream_id;
  std::vector<EventUsage> stream_usage;

  // kInvalidArgument names the field that does not compile.
  static StatusOr<std::shared_ptr<const Dialect>> compile(const DialectSpec& spec);

  bool is_cut(std::string_view finish_reason_text) const;
  // The buckets that the raw counts come to. `counted` is what was counted before sending, or null.
  Usage usage_of(const RawUsage& raw, const Usage* counted = nullptr) const;
  // The tier of the price rows that the answer names; nothing when it does not say.
  std::optional<std::string_view> served_tier_of(const RawUsage& raw) const;
  // Whether a bucket is counted before sending, so that a cost from it is marked as estimated.
  bool counts_before() const;
};

}  // namespace sluiceway::engine
