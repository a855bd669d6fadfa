// What a call may cost, before it is sent: low, expected, and a ceiling that is true.
//
// Model. The ceiling is the most that any settlement of this call can come to: over every row that
// the call can reach (prompt tokens from 0 to its bound, any instant from now to its deadline, its
// service tier and plan, and every size or quality that it leaves open), all input at the dearest
// bucket it can reach, all output at the dearest output bucket, rounded up, and one nano-dollar
// more for each two lines that may each round up by half. So price(row_at(...), usage) <= ceiling
// for every usage within the bounds: a property test over the shipped sheets checks it. A cache
// bucket that the row has no rate for is not sold and is skipped; any other reachable bucket
// without a rate is an error, since then no ceiling is true.
//
// Low takes the expected counts at the cheapest hour and input bucket that can be reached; expected
// takes them as fresh input at the row that holds now. low <= expected <= ceiling.
//
// Bounds: rows x days of the range (a range above 32 days takes every window as reachable); no
// allocation but in an error. Threads: pure functions. A caller who distrusts the machine's clock
// widens from_wall_ns and to_wall_ns.
//
//   QuoteInput in{.prompt_tokens_max = 900, .output_tokens_max = 4096,
//                 .reachable_buckets = kTextBuckets, .from_wall_ns = now, .to_wall_ns = deadline};
//   StatusOr<Quote> q = quote(*sheet, in);
//
// Source: docs/internals/call.md, "Money" ("The ceiling is true").
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/money.h"
#include "base/status.h"
#include "base/usage.h"
#include "cost/price_book.h"

namespace sluiceway::cost {

constexpr std::uint32_t bucket_bit(Bucket bucket) {
  return std::uint32_t{1} << static_cast<unsigned>(bucket);
}

// A text call whose provider may read from and write to its prompt cache.
constexpr std::uint32_t kTextBuckets = bucket_bit(Bucket::kInput) | bucket_bit(Bucket::kCacheRead) |
                                       bucket_bit(Bucket::kCacheWrite5m) |
                                       bucket_bit(Bucket::kOutput) | bucket_bit(Bucket::kReasoning);

// As QuoteInput::service_tier: the provider may choose any tier that the sheet has ("auto").
constexpr std::string_view kEveryTier = "*";

struct QuoteInput {
  std::int64_t prompt_tokens_max = 0;   // all input buckets together
  std::int64_t output_tokens_max = 0;   // all output buckets together
  std::uint32_t reachable_buckets = 0;  // bucket_bit()s of the token buckets the call may use
  std::int64_t from_wall_ns = 0;        // Unix ns; both ends belong to the range
  std::int64_t to_wall_ns = 0;
  std::string_view service_tier;  // "" = standard, kEveryTier = any
  std::string_view plan;          // of the account; "" = pay as you go
  // Of an image or a video; "" or "auto" = the provider may choose any.
  std::string_view size, quality;
  std::int64_t expected_prompt_tokens = 0;  // clamped to the bounds above
  std::int64_t expected_output_tokens = 0;
  // Units of buckets that are not tokens (characters, images, searches, requests ...), at most.
  // They are priced whatever reachable_buckets says.
  std::array<std::int64_t, kBucketCount> other_units_max{};
};

struct Quote {
  Nanousd low = 0;
  Nanousd expected = 0;
  Nanousd ceiling = 0;
  std::string_view row_version;  // of the row that set the ceiling; lives as long as the sheet
};

// NotFound: no row in that time and tier. FailedPrecondition: a reachable bucket has no rate (named
// in the message). InvalidArgument: a count below zero, or a range that ends before it begins.
StatusOr<Quote> quote(const PriceSheet& sheet, const QuoteInput& input);

}  // namespace sluiceway::cost
