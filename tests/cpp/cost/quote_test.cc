// Low, expected and ceiling, worked out by hand from published prices (per token in nano-dollars:
// $1 per million is 1,000 a token).
#include "cost/quote.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "cost/cost_testing.h"

namespace sluiceway::cost {
namespace {

constexpr std::int64_t kToken = 1'000'000;  // a rate of one nano-dollar a unit
using Counts = std::initializer_list<std::pair<Bucket, std::int64_t>>;

PriceRow row_of(std::string version, Counts per_unit) {
  PriceRow row;
  row.version = std::move(version);
  for (const auto& [bucket, nano] : per_unit) {
    row.rate[static_cast<std::size_t>(bucket)] = nano * kToken;
  }
  return row;
}

PriceSheet luna() {  // gpt-6-luna: 0.10 / 0.01 / write 0.125 / 0.50; above 272K x2 and x1.5
  PriceSheet sheet{.provider = "openai", .model = "gpt-6-luna"};
  sheet.rows = {row_of("short", {{Bucket::kInput, 100},
                                 {Bucket::kCacheRead, 10},
                                 {Bucket::kCacheWrite5m, 125},
                                 {Bucket::kOutput, 500}}),
                row_of("long", {{Bucket::kInput, 200},
                                {Bucket::kCacheRead, 20},
                                {Bucket::kCacheWrite5m, 250},
                                {Bucket::kOutput, 750}})};
  sheet.rows[0].prompt_to = sheet.rows[1].prompt_from = 272'001;
  return sheet;
}

QuoteInput text_call(std::int64_t prompt_max, std::int64_t output_max) {
  QuoteInput in;
  in.prompt_tokens_max = prompt_max;
  in.output_tokens_max = output_max;
  in.reachable_buckets = kTextBuckets;
  return in;
}

Quote quoted(const PriceSheet& sheet, const QuoteInput& in) {
  const auto q = quote(sheet, in);
  EXPECT_TRUE(q.ok()) << q.status();
  return q.ok() ? *q : Quote{};
}

TEST(Quote, CeilingTakesTheDearestInputBucket) {
  const PriceSheet sheet = luna();
  QuoteInput in = text_call(900, 4096);
  in.expected_prompt_tokens = 600;
  in.expected_output_tokens = 200;
  const Quote q = quoted(sheet, in);
  EXPECT_EQ(q.ceiling, 900 * 125 + 4096 * 500);  // all written to the cache
  EXPECT_EQ(q.expected, 600 * 100 + 200 * 500);
  EXPECT_EQ(q.low, 600 * 10 + 200 * 500);  // all read from it
  EXPECT_EQ(q.row_version, "short");
  in.reachable_buckets = bucket_bit(Bucket::kInput) | bucket_bit(Bucket::kOutput);
  EXPECT_EQ(quoted(sheet, in).ceiling, 900 * 100 + 4096 * 500);
}

TEST(Quote, LongPromptTariffIsReachedOneTokenAboveTheBound) {
  const PriceSheet sheet = luna();
  EXPECT_EQ(quoted(sheet, text_call(272'000, 10)).ceiling, 272'000 * 125 + 10 * 500);
  const Quote q = quoted(sheet, text_call(272'001, 10));
  EXPECT_EQ(q.ceiling, 272'001 * 250 + 10 * 750);
  EXPECT_EQ(q.row_version, "long");
}

TEST(Quote, LowAndExpectedKeepToTheExpectedPromptsTariff) {
  const PriceSheet sheet = luna();
  QuoteInput in = text_call(300'000, 0);
  in.expected_prompt_tokens = 280'000;
  EXPECT_EQ(quoted(sheet, in).expected, 280'000 * 200);
  EXPECT_EQ(quoted(sheet, in).low, 280'000 * 20);
  in.expected_prompt_tokens = 400'000;  // clamped to the bound
  EXPECT_EQ(quoted(sheet, in).expected, 300'000 * 200);
}

TEST(Quote, DearerShortPromptsCountOnlyUpToTheirOwnBound) {
  PriceSheet sheet = luna();
  std::swap(sheet.rows[0].rate, sheet.rows[1].rate);
  EXPECT_EQ(quoted(sheet, text_call(280'000, 0)).ceiling, 272'000 * 250);
  EXPECT_EQ(quoted(sheet, text_call(600'000, 0)).ceiling, 600'000 * 125);
}

PriceSheet deepseek_prices() {  // deepseek-flash: off-peak 0.15 / 0.003 / 0.60, peak twice that
  PriceSheet sheet{.provider = "deepseek", .model = "deepseek-flash"};
  sheet.rows = {
      row_of("off-peak", {{Bucket::kInput, 150}, {Bucket::kCacheRead, 3}, {Bucket::kOutput, 600}}),
      row_of("peak", {{Bucket::kInput, 300}, {Bucket::kCacheRead, 6}, {Bucket::kOutput, 1200}})};
  for (PriceRow& row : sheet.rows) {
    row.windows = {{0x1f, 3600, 14400}, {0x1f, 21600, 36000}};
    row.excluded_days = {20727};  // 2026-10-01, a Thursday
  }
  sheet.rows[0].windows_inverted = true;
  return sheet;
}

std::string dearest_tier(const PriceSheet& sheet, std::int64_t from_ns, std::int64_t to_ns) {
  QuoteInput in = text_call(1, 1);
  in.from_wall_ns = from_ns;
  in.to_wall_ns = to_ns;
  return std::string(quoted(sheet, in).row_version);
}

TEST(Quote, TimeRangeReachesAWindowThatBeginsAtItsEnd) {
  const PriceSheet sheet = deepseek_prices();
  const std::int64_t one = (kMonday + 3600) * kS;
  EXPECT_EQ(dearest_tier(sheet, one - 60 * kS, one - 1), "off-peak");
  EXPECT_EQ(dearest_tier(sheet, one - 60 * kS, one), "peak");
  const std::int64_t four = (kMonday + 14400) * kS;
  EXPECT_EQ(dearest_tier(sheet, four - 1, four + 60 * kS), "peak");
  EXPECT_EQ(dearest_tier(sheet, four, (kMonday + 21600) * kS - 1), "off-peak");
  EXPECT_EQ(dearest_tier(sheet, one + kS, one + 2 * kS), "peak");
}

TEST(Quote, ExpectedIsTheRowThatHoldsNowAndLowTheCheapestInTheRange) {
  const PriceSheet sheet = deepseek_prices();
  QuoteInput in = text_call(1000, 100);
  in.expected_prompt_tokens = 1000;
  in.expected_output_tokens = 100;
  in.from_wall_ns = (kMonday + 3600) * kS;  // peak now, off-peak before the deadline
  in.to_wall_ns = (kMonday + 14400) * kS;
  Quote q = quoted(sheet, in);
  EXPECT_EQ(q.low, 1000 * 3 + 100 * 600);
  EXPECT_EQ(q.expected, 1000 * 300 + 100 * 1200);
  EXPECT_EQ(q.ceiling, 1000 * 300 + 100 * 1200);
  in.from_wall_ns = kMonday * kS;  // off-peak now, peak before the deadline
  in.to_wall_ns = (kMonday + 3600) * kS;
  q = quoted(sheet, in);
  EXPECT_EQ(q.expected, 1000 * 150 + 100 * 600);
  EXPECT_EQ(q.ceiling, 1000 * 300 + 100 * 1200);
}

TEST(Quote, WeekendsAndHolidaysReachNoPeakAndLongRangesDo) {
  const PriceSheet sheet = deepseek_prices();
  const std::int64_t friday_end = (kMonday + 4 * 86'400 + 36'000) * kS;
  const std::int64_t next_peak = (kMonday + 7 * 86'400 + 3600) * kS;
  EXPECT_EQ(dearest_tier(sheet, friday_end, next_peak - 1), "off-peak");
  EXPECT_EQ(dearest_tier(sheet, friday_end, next_peak), "peak");
  const std::int64_t holiday = 1790812800 * kS;  // 2026-10-01T00:00Z
  EXPECT_EQ(dearest_tier(sheet, holiday, holiday + 86'400 * kS - 1), "off-peak");
  EXPECT_EQ(dearest_tier(sheet, holiday, holiday + 40 * 86'400 * kS), "peak");
}

TEST(Quote, PriceChangesBeforeTheDeadlineAreReached) {
  PriceSheet sheet{.provider = "p", .model = "m"};
  sheet.rows = {row_of("old", {{Bucket::kInput, 100}, {Bucket::kOutput, 100}}),
                row_of("new", {{Bucket::kInput, 300}, {Bucket::kOutput, 300}})};
  sheet.rows[0].effective_to_ns = sheet.rows[1].effective_from_ns = 1000;
  EXPECT_EQ(dearest_tier(sheet, 0, 999), "old");
  EXPECT_EQ(dearest_tier(sheet, 0, 1000), "new");
  sheet.rows[1].rate = sheet.rows[0].rate;
  sheet.rows[0].rate[0] *= 9;
  EXPECT_EQ(dearest_tier(sheet, 999, 5000), "old");
  EXPECT_EQ(dearest_tier(sheet, 1000, 5000), "new");
}

TEST(Quote, CeilingCoversLinesThatEachRoundUp) {
  // 37.5 nano-dollars a token, fresh or cached: one of each settles at 38 + 38.
  PriceSheet sheet{.provider = "p", .model = "m"};
  sheet.rows.emplace_back();
  sheet.rows[0].version = "v";
  sheet.rows[0].rate[0] = sheet.rows[0].rate[1] = 37'500'000;
  QuoteInput in = text_call(2, 0);
  in.reachable_buckets = bucket_bit(Bucket::kInput) | bucket_bit(Bucket::kCacheRead);
  EXPECT_EQ(quoted(sheet, in).ceiling, 76);
  in.prompt_tokens_max = 1;
  EXPECT_EQ(quoted(sheet, in).ceiling, 38);
  in.reachable_buckets = bucket_bit(Bucket::kInput);
  in.prompt_tokens_max = 2;
  EXPECT_EQ(quoted(sheet, in).ceiling, 75);
}

TEST(Quote, MissingRates) {
  PriceSheet sheet{.provider = "p", .model = "m"};
  sheet.rows = {row_of("v", {{Bucket::kInput, 100}, {Bucket::kOutput, 100}})};
  EXPECT_EQ(quoted(sheet, text_call(10, 10)).ceiling, 2000);  // no cache is sold: skipped
  QuoteInput in = text_call(10, 10);
  in.reachable_buckets |= bucket_bit(Bucket::kAudioInput);
  const auto refused = quote(sheet, in);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(to_std(refused.status().message()).find("audio_input"), std::string::npos);
  in.reachable_buckets = bucket_bit(Bucket::kInput);  // output tokens, but no output bucket
  EXPECT_EQ(quote(sheet, in).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Quote, ServiceTiers) {
  PriceSheet sheet{.provider = "p", .model = "m"};
  sheet.rows = {row_of("standard", {{Bucket::kInput, 100}, {Bucket::kOutput, 100}})};
  sheet.rows.push_back(sheet.rows[0]);
  sheet.rows[1].version = "priority";
  sheet.rows[1].service_tier = "priority";
  sheet.rows[1].factor_num = 7;  // 1.75 times
  sheet.rows[1].factor_den = 4;
  QuoteInput in = text_call(10, 10);
  in.expected_prompt_tokens = 10;
  EXPECT_EQ(quoted(sheet, in).ceiling, 2000);
  in.service_tier = "default";
  EXPECT_EQ(quoted(sheet, in).ceiling, 2000);
  in.service_tier = "priority";
  EXPECT_EQ(quoted(sheet, in).ceiling, 3500);
  in.service_tier = kEveryTier;
  EXPECT_EQ(quoted(sheet, in).ceiling, 3500);
  EXPECT_EQ(quoted(sheet, in).expected, 1000);
  in.service_tier = "auto";
  EXPECT_EQ(quoted(sheet, in).ceiling, 3500);
  in.service_tier = "flex";
  EXPECT_EQ(quote(sheet, in).status().code(), absl::StatusCode::kNotFound);
}

TEST(Quote, OtherUnits) {
  PriceSheet sheet{.provider = "openai", .model = "tts-1"};  // $15 per million characters
  sheet.rows = {row_of("v", {{Bucket::kCharacters, 15'000}})};
  QuoteInput in;
  in.other_units_max[static_cast<std::size_t>(Bucket::kCharacters)] = 4096;
  const Quote q = quoted(sheet, in);
  EXPECT_EQ(q.ceiling, 61'440'000);
  EXPECT_EQ(q.low, q.ceiling);
  in.other_units_max[static_cast<std::size_t>(Bucket::kImages)] = 1;
  EXPECT_EQ(quote(sheet, in).status().code(), absl::StatusCode::kFailedPrecondition);
  in = {};
  in.other_units_max[static_cast<std::size_t>(Bucket::kInput)] = 1;  // a token bucket
  EXPECT_EQ(quote(sheet, in).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Quote, BadInputAndOverflow) {
  const PriceSheet sheet = luna();
  EXPECT_EQ(quote(sheet, text_call(-1, 0)).status().code(), absl::StatusCode::kInvalidArgument);
  QuoteInput in = text_call(1, 1);
  in.from_wall_ns = 1;
  EXPECT_EQ(quote(sheet, in).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(quoted(sheet, text_call(kUnbounded, kUnbounded)).ceiling, kNanousdMax);
  in = text_call(1, 1);
  in.from_wall_ns = std::numeric_limits<std::int64_t>::min();
  in.to_wall_ns = kUnbounded;
  EXPECT_EQ(quoted(deepseek_prices(), in).ceiling, 300 + 1200);
  in.to_wall_ns = in.from_wall_ns;
  EXPECT_TRUE(quote(deepseek_prices(), in).ok());
  in.to_wall_ns = in.from_wall_ns = kUnbounded;
  EXPECT_TRUE(quote(deepseek_prices(), in).ok());
}

TEST(Quote, ASizeLeftOpenCostsTheDearest) {
  // dall-e-3: $0.04 an image; 1792x1024 $0.08.
  PriceSheet sheet{.provider = "openai", .model = "dall-e-3", .aliases = {}, .rows = {}};
  for (const auto& [size, cents] : {std::pair{"1024x1024", 4}, std::pair{"1792x1024", 8}}) {
    PriceRow row;
    row.version = size;
    row.size = size;
    row.rate[static_cast<std::size_t>(Bucket::kImages)] = cents * 10'000'000'000'000;
    sheet.rows.push_back(row);
  }
  QuoteInput in;
  in.other_units_max[static_cast<std::size_t>(Bucket::kImages)] = 3;
  in.size = "1024x1024";
  ASSERT_TRUE(quote(sheet, in).ok());
  EXPECT_EQ(quote(sheet, in)->ceiling, 120'000'000);
  in.size = "auto";
  EXPECT_EQ(quote(sheet, in)->ceiling, 240'000'000);
  EXPECT_EQ(quote(sheet, in)->low, 120'000'000);
  in.size = "";
  EXPECT_EQ(quote(sheet, in)->row_version, "1792x1024");
  in.size = "512x512";
  EXPECT_FALSE(quote(sheet, in).ok());
  in.size = "";
  in.plan = "team";
  const auto refused = quote(sheet, in);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(std::string(to_std(refused.status().message())).find("plan 'team'"), std::string::npos);
}

TEST(Quote, SearchesAreNotDiscountedWithTheTier) {
  PriceSheet sheet{.provider = "anthropic", .model = "m", .aliases = {}, .rows = {}};
  PriceRow row;
  row.version = "batch";
  row.service_tier = "batch";
  row.factor_den = 2;
  row.rate[static_cast<std::size_t>(Bucket::kSearches)] = 10'000'000'000'000;  // $10 a thousand
  sheet.rows.push_back(row);
  QuoteInput in;
  in.service_tier = "batch";
  in.other_units_max[static_cast<std::size_t>(Bucket::kSearches)] = 5;
  ASSERT_TRUE(quote(sheet, in).ok());
  EXPECT_EQ(quote(sheet, in)->ceiling, 50'000'000);  // 5 x $0.01
}

}  // namespace
}  // namespace sluiceway::cost
