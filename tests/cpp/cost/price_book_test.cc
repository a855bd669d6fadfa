// Choosing rows and settling usage. Expected amounts are worked out by hand from the providers'
// published prices (facts on the rows of src/python/sluiceway/prices/*.toml).
#include "cost/price_book.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cost/cost_testing.h"

namespace sluiceway::cost {
namespace {

constexpr std::int64_t kUsd = 1'000'000'000;  // a dollar per million units, as a rate

using Counts = std::initializer_list<std::pair<Bucket, std::int64_t>>;

PriceRow row_of(Counts rates, std::string version = "test/model@2026-11-22") {
  PriceRow row;
  row.version = std::move(version);
  for (const auto& [bucket, rate] : rates) row.rate[static_cast<std::size_t>(bucket)] = rate;
  return row;
}

Usage usage_of(Counts counts) {
  Usage usage;
  for (const auto& [bucket, units] : counts) usage.set(bucket, units);
  return usage;
}

Nanousd cost_of(const PriceRow& row, Counts counts) {
  const auto cost = price(row, usage_of(counts));
  EXPECT_TRUE(cost.ok()) << cost.status();
  return cost.ok() ? *cost : -1;
}

TEST(Price, DeepseekFlashAtPeakByHand) {
  // Per token at peak: hit $0.006 / 10^6 = 6 nano-dollars, miss 300, out 1,200.
  const PriceRow row = row_of({{Bucket::kInput, kUsd * 30 / 100},
                               {Bucket::kCacheRead, kUsd * 6 / 1000},
                               {Bucket::kOutput, kUsd * 12 / 10}});
  // 1,234 x 6 + 5,678 x 300 + 910 x 1,200 = 7,404 + 1,703,400 + 1,092,000
  EXPECT_EQ(
      cost_of(row, {{Bucket::kCacheRead, 1234}, {Bucket::kInput, 5678}, {Bucket::kOutput, 910}}),
      2'802'804);
}

TEST(Price, HalvesGoToTheEvenNanoDollar) {
  // gpt-4o-mini, cached input in a batch: $0.075 per million at half price, 37.5 nano-dollars each.
  PriceRow row = row_of({{Bucket::kInput, 150'000'000}, {Bucket::kCacheRead, 75'000'000}});
  row.factor_num = 1;
  row.factor_den = 2;
  EXPECT_EQ(cost_of(row, {{Bucket::kCacheRead, 1}}), 38);   // 37.5
  EXPECT_EQ(cost_of(row, {{Bucket::kCacheRead, 2}}), 75);   // 75
  EXPECT_EQ(cost_of(row, {{Bucket::kCacheRead, 3}}), 112);  // 112.5
  EXPECT_EQ(cost_of(row, {{Bucket::kCacheRead, 5}}), 188);  // 187.5
  EXPECT_EQ(cost_of(row, {{Bucket::kCacheRead, 1000}}), 37'500);
}

TEST(Price, EachLineIsRoundedByItself) {
  const PriceRow row = row_of({{Bucket::kInput, 37'500'000}, {Bucket::kCacheRead, 37'500'000}});
  EXPECT_EQ(cost_of(row, {{Bucket::kInput, 1}, {Bucket::kCacheRead, 1}}), 76);  // 38 + 38
  EXPECT_EQ(cost_of(row, {{Bucket::kInput, 2}}), 75);
}

TEST(Price, ReasoningIsOutputBeforeRoundingUnlessItHasARate) {
  PriceRow row = row_of({{Bucket::kOutput, 37'500'000}});
  EXPECT_EQ(cost_of(row, {{Bucket::kOutput, 1}, {Bucket::kReasoning, 1}}), 75);
  row.rate[static_cast<std::size_t>(Bucket::kReasoning)] = 3 * kUsd;
  EXPECT_EQ(cost_of(row, {{Bucket::kOutput, 1}, {Bucket::kReasoning, 1}}), 38 + 3000);
  // A rate of zero is a rate: such units are free, and not output.
  row.rate[static_cast<std::size_t>(Bucket::kReasoning)] = 0;
  EXPECT_EQ(cost_of(row, {{Bucket::kReasoning, 1'000'000}}), 0);
}

TEST(Price, UsedBucketWithoutARateIsAnErrorThatNamesIt) {
  const PriceRow row = row_of({{Bucket::kInput, kUsd}, {Bucket::kOutput, kUsd}});
  for (const Bucket bucket : {Bucket::kCacheRead, Bucket::kCacheWrite5m, Bucket::kCacheWrite1h,
                              Bucket::kAudioInput, Bucket::kImageOutput, Bucket::kSearches}) {
    const Usage used = usage_of({{Bucket::kInput, 10}, {bucket, 1}});
    ASSERT_TRUE(unpriced_bucket(row, used).has_value());
    EXPECT_EQ(*unpriced_bucket(row, used), bucket);
    const auto cost = price(row, used);
    EXPECT_EQ(cost.status().code(), absl::StatusCode::kFailedPrecondition);
    const std::string message(to_std(cost.status().message()));
    EXPECT_NE(message.find(bucket_name(bucket)), std::string::npos) << message;
    EXPECT_EQ(cost_of(row, {{Bucket::kInput, 10}, {bucket, 0}}), 10'000);  // reported, but none
  }
}

TEST(Price, RefusesCountsBelowZeroAndSaturates) {
  const PriceRow row = row_of({{Bucket::kInput, kUsd}, {Bucket::kOutput, kUsd}});
  EXPECT_EQ(price(row, usage_of({{Bucket::kInput, -1}})).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cost_of(row, {}), 0);
  EXPECT_EQ(cost_of(row, {{Bucket::kInput, kUnbounded}}), kNanousdMax);
  EXPECT_EQ(
      cost_of(row, {{Bucket::kInput, kUnbounded / 1000}, {Bucket::kOutput, kUnbounded / 1000}}),
      kNanousdMax);
  EXPECT_EQ(cost_of(row, {{Bucket::kOutput, kUnbounded}, {Bucket::kReasoning, kUnbounded}}),
            kNanousdMax);
}

TEST(PromptTokens, CountsEveryInputBucketAndNoOther) {
  EXPECT_EQ(prompt_tokens(usage_of({{Bucket::kInput, 1},
                                    {Bucket::kCacheRead, 20},
                                    {Bucket::kCacheWrite5m, 300},
                                    {Bucket::kCacheWrite1h, 4000},
                                    {Bucket::kAudioInput, 50'000},
                                    {Bucket::kImageInput, 600'000},
                                    {Bucket::kOutput, 7'000'000},
                                    {Bucket::kReasoning, 7'000'000},
                                    {Bucket::kCharacters, 7'000'000}})),
            654'321);
  EXPECT_EQ(
      prompt_tokens(usage_of({{Bucket::kInput, kUnbounded}, {Bucket::kCacheRead, kUnbounded}})),
      kUnbounded);
}

TEST(RowAt, LongPromptTariffBeginsOneTokenAboveTheBound) {
  // gpt-6.2-sol: $2 in; above 272K the whole request costs $4.
  PriceSheet sheet{.provider = "openai", .model = "gpt-6.2-sol"};
  sheet.rows.push_back(row_of({{Bucket::kInput, 2 * kUsd}}, "short"));
  sheet.rows.push_back(row_of({{Bucket::kInput, 4 * kUsd}}, "long"));
  sheet.rows[0].prompt_to = sheet.rows[1].prompt_from = 272'001;
  const PriceRow* at = row_at(sheet, 0, 272'000, "");
  ASSERT_NE(at, nullptr);
  EXPECT_EQ(cost_of(*at, {{Bucket::kInput, 272'000}}), 544'000'000);
  const PriceRow* above = row_at(sheet, 0, 272'001, "");
  ASSERT_NE(above, nullptr);
  EXPECT_EQ(cost_of(*above, {{Bucket::kInput, 272'001}}), 1'088'004'000);
  EXPECT_EQ(row_at(sheet, 0, -1, ""), nullptr);
}

TEST(RowAt, ServiceTiersAreMatchedByName) {
  PriceSheet sheet{.provider = "p", .model = "m"};
  sheet.rows.push_back(row_of({}, "standard"));
  sheet.rows.push_back(row_of({}, "batch"));
  sheet.rows[1].service_tier = "batch";
  for (const char* standard : {"", "default", "standard"}) {
    ASSERT_NE(row_at(sheet, 0, 1, standard), nullptr);
    EXPECT_EQ(row_at(sheet, 0, 1, standard)->version, "standard");
  }
  EXPECT_EQ(row_at(sheet, 0, 1, "batch")->version, "batch");
  EXPECT_EQ(row_at(sheet, 0, 1, "flex"), nullptr);
}

PriceSheet deepseek() {
  PriceSheet sheet{.provider = "deepseek", .model = "deepseek-flash"};
  sheet.rows.push_back(row_of({}, "peak"));
  sheet.rows[0].windows = {{0x1f, 3600, 14400}, {0x1f, 21600, 36000}};
  sheet.rows[0].excluded_days = {20727, 20728};  // 2026-10-01 and 02: Thursday and Friday
  sheet.rows.push_back(sheet.rows[0]);
  sheet.rows[1].version = "off-peak";
  sheet.rows[1].windows_inverted = true;
  return sheet;
}

std::string tariff_at(const PriceSheet& sheet, std::int64_t wall_ns) {
  const PriceRow* row = row_at(sheet, wall_ns, 10, "");
  return row == nullptr ? "none" : row->version;
}

TEST(RowAt, WindowsHoldFromTheirFirstSecondToBeforeTheirLast) {
  const PriceSheet sheet = deepseek();
  const std::int64_t one = (kMonday + 3600) * kS;  // 01:00:00Z
  EXPECT_EQ(tariff_at(sheet, one - 1), "off-peak");
  EXPECT_EQ(tariff_at(sheet, one), "peak");
  EXPECT_EQ(tariff_at(sheet, (kMonday + 14400) * kS - 1), "peak");
  EXPECT_EQ(tariff_at(sheet, (kMonday + 14400) * kS), "off-peak");  // 04:00:00Z
  EXPECT_EQ(tariff_at(sheet, (kMonday + 21600) * kS), "peak");      // 06:00:00Z
  EXPECT_EQ(tariff_at(sheet, (kMonday + 36000) * kS), "off-peak");  // 10:00:00Z
}

TEST(RowAt, WeekendsAndHolidaysAreOffPeak) {
  const PriceSheet sheet = deepseek();
  const std::int64_t day_s = 86'400;
  for (int day = 0; day < 7; ++day) {  // 02:00Z from Monday to Sunday
    EXPECT_EQ(tariff_at(sheet, (kMonday + day * day_s + 7200) * kS), day < 5 ? "peak" : "off-peak");
  }
  // 20,727 x 86,400 = 1790812800 = 2026-10-01T00:00Z.
  const std::int64_t holiday = 1790812800;
  EXPECT_EQ(tariff_at(sheet, (holiday - day_s + 7200) * kS), "peak");  // Wednesday before it
  EXPECT_EQ(tariff_at(sheet, (holiday + 7200) * kS), "off-peak");
  EXPECT_EQ(tariff_at(sheet, (holiday + day_s + 7200) * kS), "off-peak");
}

// Off-peak 2 nano-dollars a token in, peak 4: a call of ten tokens costs 20 or 40.
PriceSheet priced_deepseek() {
  PriceSheet sheet = deepseek();
  for (PriceRow& row : sheet.rows) {
    row.rate[static_cast<std::size_t>(Bucket::kInput)] =
        row.windows_inverted ? 2'000'000 : 4'000'000;
  }
  return sheet;
}

Nanousd dearest(const PriceSheet& sheet, std::int64_t from_s, std::int64_t to_s) {
  const auto found = dearest_within(sheet, (kMonday + from_s) * kS, (kMonday + to_s) * kS,
                                    usage_of({{Bucket::kInput, 10}}), Selector{});
  return found ? found->cost : -1;
}

TEST(DearestWithin, WhatBeginsOffPeakAndEndsInItIsPeak) {
  const PriceSheet sheet = priced_deepseek();
  EXPECT_EQ(dearest(sheet, 3590, 3599), 20);
  EXPECT_EQ(dearest(sheet, 3590, 3600), 40);    // ends at 01:00:00Z, the first second of peak
  EXPECT_EQ(dearest(sheet, 14399, 14500), 40);  // begins in its last
  EXPECT_EQ(dearest(sheet, 14400, 21599), 20);
  EXPECT_EQ(dearest(sheet, 3000, 15000), 40);  // a whole peak lies between two off-peak ends
  EXPECT_EQ(dearest(sheet, 3600, 3600), 40);
}

TEST(DearestWithin, NothingIsKnownWhereAnInstantHasNoPrice) {
  PriceSheet sheet = priced_deepseek();
  sheet.rows[0].rate = no_rates();  // peak sells no input
  EXPECT_EQ(dearest(sheet, 3000, 3100), 20);
  EXPECT_EQ(dearest(sheet, 3000, 3600), -1);
  EXPECT_EQ(dearest(sheet, 3000, 15000), -1);
  sheet = priced_deepseek();
  sheet.rows.pop_back();  // nothing is sold off-peak
  EXPECT_EQ(dearest(sheet, 3000, 3600), -1);
  EXPECT_EQ(dearest(sheet, 3600, 3700), 40);
  EXPECT_EQ(dearest(sheet, 14000, 14400), -1);
}

TEST(RowAt, InstantsBefore1970FallOnTheRightDay) {
  // 1969-12-31 was a Wednesday; its 02:00Z is 22 hours before 1970.
  EXPECT_EQ(tariff_at(deepseek(), -22 * 3600 * kS), "peak");
  EXPECT_EQ(tariff_at(deepseek(), -1), "off-peak");
}

TEST(RowAt, DatesAreHalfOpen) {
  PriceSheet sheet{.provider = "anthropic", .model = "claude-sonnet-5-5"};
  sheet.rows.push_back(row_of({}, "before"));
  sheet.rows.push_back(row_of({}, "after"));
  const std::int64_t change = 1791331200 * kS;  // 2026-10-07T00:00:00Z
  sheet.rows[0].effective_to_ns = sheet.rows[1].effective_from_ns = change;
  EXPECT_EQ(tariff_at(sheet, change - 1), "before");
  EXPECT_EQ(tariff_at(sheet, change), "after");
  sheet.rows.pop_back();
  EXPECT_EQ(tariff_at(sheet, change), "none");
}

PriceSheet sheet_named(std::string model, std::vector<std::string> aliases = {}) {
  PriceSheet sheet{.provider = "openai", .model = std::move(model), .aliases = std::move(aliases)};
  sheet.rows.push_back(row_of({{Bucket::kInput, kUsd}}));
  return sheet;
}

TEST(Book, FindsModelsAndAliases) {
  const auto book = PriceBook::make(
      {sheet_named("gpt-4o", {"gpt-4o-2024-08-06"}), sheet_named("gpt-4o-mini")}, "sha256:00");
  ASSERT_TRUE(book.ok()) << book.status();
  EXPECT_EQ((*book)->version(), "sha256:00");
  EXPECT_EQ((*book)->sheets().size(), 2u);
  ASSERT_NE((*book)->find("openai", "gpt-4o"), nullptr);
  EXPECT_EQ((*book)->find("openai", "gpt-4o-2024-08-06"), (*book)->find("openai", "gpt-4o"));
  EXPECT_EQ((*book)->find("openai", "gpt-4"), nullptr);
  EXPECT_EQ((*book)->find("azure", "gpt-4o"), nullptr);
}

TEST(Book, RefusesWhatCannotBePriced) {
  const auto refused = [](PriceSheet sheet) {
    return PriceBook::make({std::move(sheet)}, "v").status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused(sheet_named("good")));
  PriceSheet sheet = sheet_named("no-rows");
  sheet.rows.clear();
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("no-version");
  sheet.rows[0].version.clear();
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("negative");
  sheet.rows[0].rate[0] = -2;
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("factor");
  sheet.rows[0].factor_den = 0;
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("dates");
  sheet.rows[0].effective_to_ns = sheet.rows[0].effective_from_ns;
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("window");
  sheet.rows[0].windows = {{0x7f, 0, 86'401}};
  EXPECT_TRUE(refused(sheet));
  sheet = sheet_named("inverted");
  sheet.rows[0].windows_inverted = true;
  EXPECT_TRUE(refused(sheet));
  EXPECT_FALSE(PriceBook::make({sheet_named("a", {"b"}), sheet_named("b")}, "v").ok());
  EXPECT_FALSE(PriceBook::make({sheet_named("a"), sheet_named("a")}, "v").ok());
}

TEST(Price, AMinuteIsSixtySecondsExactly) {
  // gpt-realtime-whisper: $0.017 a minute is 17,000,000 nano-dollars over 60,000 thousandths of a
  // second, which no whole rate per second can say.
  PriceRow row = row_of({{Bucket::kSeconds, 17'000'000'000}});
  row.rate_den[static_cast<std::size_t>(Bucket::kSeconds)] = 60;
  EXPECT_EQ(cost_of(row, {{Bucket::kSeconds, 60'000}}), 17'000'000);
  EXPECT_EQ(cost_of(row, {{Bucket::kSeconds, 3'600'000}}), 1'020'000'000);  // an hour, $1.02
  EXPECT_EQ(cost_of(row, {{Bucket::kSeconds, 1}}), 283);                    // 283.33
  EXPECT_EQ(cost_of(row, {{Bucket::kSeconds, 2}}), 567);                    // 566.67
  EXPECT_EQ(line_ceiling(row, Bucket::kSeconds, 1), 284);
  row.factor_num = 1;
  row.factor_den = 2;
  EXPECT_EQ(cost_of(row, {{Bucket::kSeconds, 60'000}}), 8'500'000);
}

TEST(Price, AFactorLeavesSearchesAndRequestsAlone) {
  // claude-opus-4-5 in a batch: input $5 at half price, a search $10 a thousand as ever.
  PriceRow row = row_of({{Bucket::kInput, 5 * kUsd},
                         {Bucket::kSearches, 10'000 * kUsd},
                         {Bucket::kRequests, 30'000 * kUsd}});
  row.factor_num = 1;
  row.factor_den = 2;
  // 1,000 x 2,500 + 3 x 10,000,000 + 1 x 30,000,000
  EXPECT_EQ(cost_of(row, {{Bucket::kInput, 1000}, {Bucket::kSearches, 3}, {Bucket::kRequests, 1}}),
            62'500'000);
}

PriceSheet images() {
  // dall-e-3: $0.04 and $0.08 an image, hd $0.08 and $0.12.
  PriceSheet sheet{.provider = "openai", .model = "dall-e-3", .aliases = {}, .rows = {}};
  const auto add = [&](std::string size, std::string quality, std::int64_t cents) {
    PriceRow row = row_of({{Bucket::kImages, cents * 10'000 * kUsd}}, size + quality);
    row.size = std::move(size);
    row.quality = std::move(quality);
    sheet.rows.push_back(std::move(row));
  };
  add("1024x1024", "standard", 4);
  add("1792x1024", "standard", 8);
  add("1024x1024", "hd", 8);
  add("1792x1024", "hd", 12);
  return sheet;
}

TEST(RowAt, SizeAndQualityChooseARow) {
  const PriceSheet sheet = images();
  const auto* row = row_at(sheet, 0, 0, Selector{.size = "1792x1024", .quality = "hd"});
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(cost_of(*row, {{Bucket::kImages, 2}}), 240'000'000);  // 2 x $0.12
  EXPECT_EQ(row_at(sheet, 0, 0, Selector{.size = "512x512", .quality = "hd"}), nullptr);
  EXPECT_EQ(row_at(sheet, 0, 0, Selector{.size = "1024x1024"}), nullptr);  // which quality?
  EXPECT_EQ(row_at(sheet, 0, 0, ""), nullptr);
}

TEST(RowAt, RowsWithoutASizePriceEverySize) {
  PriceSheet sheet{.provider = "p", .model = "m", .aliases = {}, .rows = {}};
  sheet.rows.push_back(row_of({{Bucket::kImageOutput, 30 * kUsd}}));
  EXPECT_NE(row_at(sheet, 0, 0, Selector{.size = "3840x2160", .quality = "max"}), nullptr);
  EXPECT_NE(row_at(sheet, 0, 0, ""), nullptr);
}

TEST(RowAt, APlanIsAnotherPriceList) {
  PriceSheet sheet{.provider = "p", .model = "m", .aliases = {}, .rows = {}};
  sheet.rows.push_back(row_of({{Bucket::kCharacters, 100 * kUsd}}, "payg"));
  sheet.rows.push_back(row_of({{Bucket::kCharacters, 60 * kUsd}}, "scale"));
  sheet.rows[1].plan = "scale";
  EXPECT_EQ(row_at(sheet, 0, 0, "")->version, "payg");
  EXPECT_EQ(row_at(sheet, 0, 0, Selector{.plan = "scale"})->version, "scale");
  EXPECT_EQ(row_at(sheet, 0, 0, Selector{.plan = "none such"}), nullptr);
}

TEST(Book, RefusesRatesOverNothingAndTokenRatesThatAreNotWhole) {
  const auto with = [](Bucket bucket, std::int32_t den) {
    PriceSheet sheet{.provider = "p", .model = "m", .aliases = {}, .rows = {}};
    sheet.rows.push_back(row_of({{bucket, kUsd}}));
    sheet.rows[0].rate_den[static_cast<std::size_t>(bucket)] = den;
    std::vector<PriceSheet> sheets;
    sheets.push_back(std::move(sheet));
    return PriceBook::make(std::move(sheets), "v").ok();
  };
  EXPECT_TRUE(with(Bucket::kSeconds, 60));
  EXPECT_TRUE(with(Bucket::kInput, 1));
  EXPECT_FALSE(with(Bucket::kSeconds, 0));
  EXPECT_FALSE(with(Bucket::kSeconds, 86'401));
  EXPECT_FALSE(with(Bucket::kInput, 60));
}

}  // namespace
}  // namespace sluiceway::cost
