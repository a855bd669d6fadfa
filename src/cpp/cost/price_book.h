// What a unit costs: price rows, and the immutable snapshot of them that a gateway prices with.
//
// Model. A sheet is one model of one provider; its rows differ by date, time of day, prompt length
// and by what a Selector names: service tier, plan, and size and quality of images and videos. At
// any instant at most one row holds for a given prompt and selector (the loader, prices/load.py,
// proves that; with overlapping rows the first wins). A row has one rate per usage bucket. A book
// is built once and never changed: a reload makes a new book, and a call keeps the sheet it was
// quoted from. A new price axis becomes one more member of Selector; new units are new buckets in
// base/usage.h.
//
// A factor (batch, service tier) multiplies what the model itself sells. What is billed by the call
// beside it, searches and requests, keeps its price: no provider is known to discount those.
//
// Bounds: row_at is linear in a sheet's rows (at most a few dozen); find is two hash look-ups; no
// function here allocates but make(). Threads: everything is const after make(). Time is Unix
// nanoseconds and always a parameter. Amounts: nano-dollars, see base/money.h.
//
//   auto book = PriceBook::make(sheets, "sha256:...");
//   auto sheet = (*book)->find("openai", "gpt-6-luna");
//   const PriceRow* row = row_at(*sheet, now_ns, prompt_tokens(usage), Selector{.plan = "team"});
//   StatusOr<Nanousd> cost = price(*row, usage);
//
// Sources: docs/internals/call.md, "Money"; each row's own source stands in prices/<provider>.toml.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/status.h"
#include "base/text.h"
#include "base/usage.h"

namespace sluiceway::cost {

// Hours of the UTC day on some weekdays: [from_s, to_s) in seconds since 00:00 UTC, at most 86,400.
struct TimeWindow {
  std::uint8_t weekday_mask = 0x7f;  // bit 0 = Monday
  std::int32_t from_s = 0;
  std::int32_t to_s = 86'400;
};

constexpr std::array<std::int64_t, kBucketCount> no_rates() {
  std::array<std::int64_t, kBucketCount> rates{};
  for (auto& rate : rates) rate = -1;
  return rates;
}

constexpr std::array<std::int32_t, kBucketCount> whole_rates() {
  std::array<std::int32_t, kBucketCount> dens{};
  for (auto& den : dens) den = 1;
  return dens;
}

// Which row of a sheet prices a request, beside the instant and the prompt's length. Views: they
// live as long as what they were made from.
struct Selector {
  std::string_view service_tier;  // as the provider names it; "", "default", "standard" are one
  std::string_view plan;          // of the account; "" = ordinary pay as you go
  std::string_view size;          // "1024x1024"; rows without a size price every size
  std::string_view quality;       // "high"; rows without a quality price every quality
};

struct PriceRow {
  std::string version;  // "deepseek/deepseek-flash@2026-11-15/peak": names the row in the ledger
  std::int64_t effective_from_ns = std::numeric_limits<std::int64_t>::min();  // Unix ns, half-open
  std::int64_t effective_to_ns = std::numeric_limits<std::int64_t>::max();
  std::vector<TimeWindow> windows;          // empty: always
  std::vector<std::int32_t> excluded_days;  // days since 1970-01-01 (UTC) without the windows
  bool windows_inverted = false;            // an off-peak row: holds when the windows do not
  // Which requests: the row prices the whole request when its prompt_tokens() is in this half-open
  // range. A vendor's "more than n" is written n + 1 by the loader.
  std::int64_t prompt_from = 0;
  std::int64_t prompt_to = std::numeric_limits<std::int64_t>::max();
  // Nano-dollars per 1,000,000 units, over rate_den; -1: no rate. Reasoning without a rate of its
  // own is output. A price per minute of what is counted in seconds has 60 in rate_den, so that it
  // stays exact; token buckets always have 1.
  std::array<std::int64_t, kBucketCount> rate = no_rates();
  std::array<std::int32_t, kBucketCount> rate_den = whole_rates();
  std::int32_t factor_num = 1;  // batch or service tier, on the rates that takes_factor() names
  std::int32_t factor_den = 1;
  std::string service_tier;   // "" = standard
  std::string plan;           // "" = pay as you go
  std::string size, quality;  // "" = any
};

struct PriceSheet {
  std::string provider;
  std::string model;
  std::vector<std::string> aliases;  // dated and other names that are billed as this model
  std::vector<PriceRow> rows;
  std::int64_t max_output_tokens = 0;  // the model's own bound on one answer; 0: not known
  std::int64_t context_tokens = 0;     // prompt and answer together; 0: not known
  std::string retires;                 // "2027-01-14", or "" when no date is announced
};

class PriceBook {
 public:
  // InvalidArgument names the sheet and the row: a model or alias twice within a provider, a sheet
  // without rows, an empty version, a rate below -1, a rate_den that is not positive (for tokens:
  // not 1), a factor that is not positive, an empty range.
  static StatusOr<std::shared_ptr<const PriceBook>> make(std::vector<PriceSheet> sheets,
                                                         std::string version);

  // By model or alias, exact spelling; nullptr when the book has no such model.
  std::shared_ptr<const PriceSheet> find(std::string_view provider, std::string_view model) const;

  const std::string& version() const { return version_; }
  // Every sheet once, in the order given to make().
  const std::vector<std::shared_ptr<const PriceSheet>>& sheets() const { return sheets_; }

 private:
  PriceBook() = default;
  std::vector<std::shared_ptr<const PriceSheet>> sheets_;
  text_map<text_map<std::shared_ptr<const PriceSheet>>> by_provider_;
  std::string version_;
};

// All tokens of a prompt, fresh, cached, audio and image: what prompt-length tiers count.
std::int64_t prompt_tokens(const Usage& usage);

// The row that prices a request: nullptr when none holds. A size or quality that the selector
// leaves empty finds only rows that have none.
const PriceRow* row_at(const PriceSheet& sheet, std::int64_t wall_ns, std::int64_t prompt_tokens,
                       const Selector& selector);

// The same for a model that is sold by tier alone.
inline const PriceRow* row_at(const PriceSheet& sheet, std::int64_t wall_ns,
                              std::int64_t prompt_tokens, std::string_view service_tier) {
  return row_at(sheet, wall_ns, prompt_tokens, Selector{.service_tier = service_tier});
}

// from <= value < to, the half-open ranges of a row; a `to` of INT64_MAX has no end.
bool in_range(std::int64_t value, std::int64_t from, std::int64_t to);

// Whether the row's dates and windows hold at this instant (prompt and tier not looked at).
bool holds_at(const PriceRow& row, std::int64_t wall_ns);

// Whether they hold at some instant of [from_ns, to_ns], ends included. Over 32 days of windows:
// yes.
bool holds_within(const PriceRow& row, std::int64_t from_ns, std::int64_t to_ns);

// Whether a row of tier `row_tier` prices requests of `service_tier`, spelt as for row_at.
bool same_tier(std::string_view row_tier, std::string_view service_tier);

// Whether the row's factor multiplies this bucket: all but searches and requests.
constexpr bool takes_factor(Bucket bucket) {
  return bucket != Bucket::kSearches && bucket != Bucket::kRequests;
}

// What `units` of a bucket cost by this row: settled half to even, or as a bound, rounded up. The
// bucket must have a rate of its own. Saturates at kNanousdMax.
Nanousd line_half_even(const PriceRow& row, Bucket bucket, std::int64_t units);
Nanousd line_ceiling(const PriceRow& row, Bucket bucket, std::int64_t units);

// The rate that prices a bucket in this row, after folding; -1: none.
std::int64_t rate_of(const PriceRow& row, Bucket bucket);

// The first bucket that was used and has no rate, or nothing. A count of zero needs no rate.
std::optional<Bucket> unpriced_bucket(const PriceRow& row, const Usage& usage);

// What the usage costs by this row: the sum over lines (one a bucket, reasoning folded into output
// first), each rounded half to even. usage.reported_cost_nanousd is not looked at: the caller
// prefers it where it is present. Saturates at kNanousdMax. FailedPrecondition when
// unpriced_bucket() finds one, and names it; InvalidArgument for a count below zero.
StatusOr<Nanousd> price(const PriceRow& row, const Usage& usage);

// What the usage costs at the dearest instant of [from_ns, to_ns], and by which row. For a request
// under way while the tariff changed, where the provider does not say which instant counts. Nothing
// where one of those instants has no row, or a row no rate.
struct Dearest {
  Nanousd cost = 0;
  const PriceRow* row = nullptr;
};
std::optional<Dearest> dearest_within(const PriceSheet& sheet, std::int64_t from_ns,
                                      std::int64_t to_ns, const Usage& usage,
                                      const Selector& selector);

}  // namespace sluiceway::cost
