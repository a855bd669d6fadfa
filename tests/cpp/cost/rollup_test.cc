// Roll-ups: sums worked out by hand, projections, merges in any order, the bounds.
#include "cost/rollup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace sluiceway::cost {
namespace {

std::vector<GroupBy> by(std::initializer_list<std::string_view> names) {
  std::vector<GroupBy> out;
  for (const std::string_view name : names) out.push_back(*group_by_from_name(name));
  return out;
}

// What a roll-up says, by key: the same for two that agree, in whatever order they met the groups.
std::map<std::vector<std::string>, CallTotals> as_map(const Rollup& rollup) {
  std::map<std::vector<std::string>, CallTotals> out;
  for (std::size_t i = 0; i < rollup.size(); ++i) out.emplace(rollup.key(i), rollup.totals(i));
  return out;
}

using Key = std::vector<std::string>;

TEST(Rollup, SumsByProviderAndDay) {
  Rollup rollup(by({"provider", "day"}));
  const auto luna = rollup.labels_number({.provider = "openai", .model = "luna", .tenant = "a"});
  const auto sol = rollup.labels_number({.provider = "openai", .model = "sol", .tenant = "b"});
  const auto haiku = rollup.labels_number({.provider = "anthropic", .model = "haiku"});
  EXPECT_EQ(luna, sol);  // by provider they are the same
  EXPECT_NE(luna, haiku);
  const auto first = rollup.period_number({.day = "2026-11-21"});
  const auto second = rollup.period_number({.day = "2026-11-22"});
  EXPECT_EQ(first, rollup.period_number({.hour = "2026-11-21T05", .day = "2026-11-21"}));

  Usage small, large;
  small.set(Bucket::kInput, 10);
  small.set(Bucket::kOutput, 0);
  large.set(Bucket::kInput, 1'000);
  rollup.add({.labels = luna,
              .period = first,
              .state = CallState::kSettled,
              .cost = 8'400,
              .usage = &small});
  rollup.add({.labels = sol,
              .period = first,
              .state = CallState::kSettled,
              .estimated = true,
              .cost = 600,
              .refunds = 400,
              .usage = &large});
  rollup.add({.labels = luna, .period = second, .state = CallState::kInDoubt, .held = 5'000});
  rollup.add({.labels = haiku, .period = second, .state = CallState::kVoided});
  rollup.add({.labels = haiku, .period = second, .state = CallState::kOpen, .held = 70});

  ASSERT_EQ(rollup.size(), 3u);
  EXPECT_EQ(rollup.key(0), (Key{"openai", "2026-11-21", "nanousd"}));
  const CallTotals& a = rollup.totals(0);
  EXPECT_EQ(a.calls, 2);
  EXPECT_EQ(a.settled, 2);
  EXPECT_EQ(a.estimated, 1);
  EXPECT_EQ(a.refunded, 1);
  EXPECT_TRUE(a.cost == 9'000);
  EXPECT_TRUE(a.cost_estimated == 600);
  EXPECT_TRUE(a.refunds == 400);
  EXPECT_EQ(a.units[0], 1'010);
  EXPECT_EQ(a.present, 1u | 1u << static_cast<unsigned>(Bucket::kOutput));  // zero is not absent
  EXPECT_EQ(rollup.key(1), (Key{"openai", "2026-11-22", "nanousd"}));
  EXPECT_EQ(rollup.totals(1).in_doubt, 1);
  EXPECT_TRUE(rollup.totals(1).held_in_doubt == 5'000);
  EXPECT_TRUE(rollup.totals(1).cost == 0);
  EXPECT_EQ(rollup.key(2), (Key{"anthropic", "2026-11-22", "nanousd"}));
  EXPECT_EQ(rollup.totals(2).calls, 2);
  EXPECT_EQ(rollup.totals(2).voided, 1);
  EXPECT_EQ(rollup.totals(2).open, 1);
  EXPECT_TRUE(rollup.totals(2).held_open == 70);
}

TEST(Rollup, UnitsNeverMix) {
  Rollup rollup({});
  const auto money = rollup.labels_number({.provider = "openai"});
  const auto credits = rollup.labels_number({.provider = "openai", .unit = "credits"});
  const auto always = rollup.period_number({});
  rollup.add({.labels = money, .period = always, .state = CallState::kSettled, .cost = 3});
  rollup.add({.labels = credits, .period = always, .state = CallState::kSettled, .cost = 2'000});
  ASSERT_EQ(rollup.size(), 2u);
  EXPECT_EQ(rollup.key(0), Key{"nanousd"});
  EXPECT_EQ(rollup.key(1), Key{"credits"});
}

TEST(Rollup, ByOneTagAndByAll) {
  EXPECT_EQ(tag_value("job=7,team=films", "team"), "films");
  EXPECT_EQ(tag_value("job=7,team=films", "job"), "7");
  EXPECT_EQ(tag_value("job=7,team=films", "tea"), std::nullopt);
  EXPECT_EQ(tag_value("flag,x=", "flag"), "");
  EXPECT_EQ(tag_value("flag,x=", "x"), "");
  EXPECT_EQ(tag_value("", "x"), std::nullopt);

  Rollup rollup(by({"tag:team", "tags"}));
  const auto one = rollup.labels_number({.tags = "job=7,team=films"});
  const auto two = rollup.labels_number({.tags = "job=8,team=films"});
  EXPECT_NE(one, two);
  rollup.add({.labels = two, .period = rollup.period_number({})});
  EXPECT_EQ(rollup.key(0), (Key{"films", "job=8,team=films", "nanousd"}));
}

TEST(Rollup, TextsThatRunIntoEachOtherAreToldApart) {
  Rollup rollup(by({"provider", "model"}));
  EXPECT_NE(rollup.labels_number({.provider = "ab", .model = "c"}),
            rollup.labels_number({.provider = "a", .model = "bc"}));
}

TEST(Rollup, AnUnknownDimensionNamesTheKnownOnes) {
  const auto wrong = group_by_from_name("modle");
  ASSERT_FALSE(wrong.ok());
  const std::string message(to_std(wrong.status().message()));
  EXPECT_NE(message.find("'modle'"), std::string::npos) << message;
  EXPECT_NE(message.find("service_month"), std::string::npos) << message;
  EXPECT_FALSE(group_by_from_name("tag:").ok());
}

TEST(Rollup, MoneyIsExactBeyondInt64AndUsageSaturates) {
  Rollup rollup({});
  const auto labels = rollup.labels_number({});
  const auto period = rollup.period_number({});
  Usage usage;
  usage.set(Bucket::kCharacters, INT64_MAX);
  usage.set(Bucket::kInput, -5);  // no count
  for (int i = 0; i < 3; ++i) {
    rollup.add({.labels = labels,
                .period = period,
                .state = CallState::kSettled,
                .cost = INT64_MAX,
                .usage = &usage});
  }
  const CallTotals& sum = rollup.totals(0);
  EXPECT_TRUE(sum.cost == static_cast<Wide>(INT64_MAX) * 3);
  EXPECT_EQ(sum.units[static_cast<std::size_t>(Bucket::kCharacters)], INT64_MAX);
  EXPECT_EQ(sum.units[0], 0);
  EXPECT_TRUE(sum.saturated);
}

TEST(Rollup, RefusesMoreGroupsThanItMayHave) {
  Rollup rollup(by({"model"}), 2);
  const auto period = rollup.period_number({});
  const auto add = [&](std::string_view model) {
    return rollup.add({.labels = rollup.labels_number({.model = model}), .period = period});
  };
  EXPECT_EQ(add("a"), 0u);
  EXPECT_EQ(add("b"), 1u);
  EXPECT_EQ(add("c"), Rollup::kRefused);
  EXPECT_EQ(add("a"), 0u);
  EXPECT_EQ(rollup.size(), 2u);
  Rollup other(by({"model"}));
  other.add({.labels = other.labels_number({.model = "d"}), .period = other.period_number({})});
  EXPECT_EQ(rollup.merge(other).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rollup.merge(Rollup(by({"day"}))).code(), absl::StatusCode::kInvalidArgument);
}

// 3,000 events dealt to five roll-ups, which number things in other orders; merged in two orders,
// and as a tree, they are what one roll-up of everything is.
TEST(Rollup, TheOrderOfMergesDoesNotMatter) {
  const unsigned seed = 20'261'122;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto dimensions = by({"model", "month", "tag:a"});
  std::vector<Rollup> parts(5, Rollup(dimensions));
  Rollup whole(dimensions);
  const std::array<std::string_view, 4> models = {"a", "b", "", "long-model-name"};
  const std::array<std::string_view, 3> months = {"2026-09", "2026-10", "2026-11"};
  const std::array<std::string_view, 3> tags = {"", "a=1", "a=2,b=3"};
  for (int i = 0; i < 3'000; ++i) {
    Usage usage;
    usage.set(static_cast<Bucket>(random() % kBucketCount),
              static_cast<std::int64_t>(random() >> 2));
    const auto amount = static_cast<Nanousd>(random() >> 1);
    const auto state = static_cast<CallState>(random() % 4);
    const LabelTexts labels{.model = models[random() % 4], .tags = tags[random() % 3]};
    const PeriodTexts period{.month = months[random() % 3]};
    for (Rollup* rollup : {&whole, &parts[random() % 5]}) {
      rollup->add({.labels = rollup->labels_number(labels),
                   .period = rollup->period_number(period),
                   .state = state,
                   .estimated = amount % 3 == 0,
                   .cost = amount,
                   .held = amount,
                   .usage = &usage});
    }
  }
  const auto expected = as_map(whole);
  EXPECT_EQ(expected.size(), 4u * 3u * 3u);
  for (const auto& order : {std::array{0, 1, 2, 3, 4}, std::array{4, 2, 0, 3, 1}}) {
    Rollup merged(dimensions);
    for (const int i : order) {
      std::vector<std::size_t> from;
      const Rollup& part = parts[static_cast<std::size_t>(i)];
      ASSERT_TRUE(merged.merge(part, &from).ok());
      ASSERT_EQ(from.size(), part.size());
      for (std::size_t g = 0; g < from.size(); ++g) EXPECT_EQ(merged.key(from[g]), part.key(g));
    }
    EXPECT_TRUE(as_map(merged) == expected);
  }
  Rollup left = parts[3], right = parts[4];
  ASSERT_TRUE(left.merge(parts[0]).ok());
  ASSERT_TRUE(right.merge(parts[1]).ok());
  ASSERT_TRUE(right.merge(parts[2]).ok());
  ASSERT_TRUE(right.merge(left).ok());
  EXPECT_TRUE(as_map(right) == expected);
}

}  // namespace
}  // namespace sluiceway::cost
