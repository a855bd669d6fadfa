// What adding one call to a roll-up costs.
//
// The events lie in memory with interned label numbers, as a scan of the ledger yields them: a
// million calls of 200 label sets in 31 days, three usage buckets each. Each benchmark checks its
// answer before it is timed. `rollup_provider_model_day` is the row cost.rollup_per_s of the
// summary (events a second of one core); `_hour_tag` has some 600,000 groups, where the answer no
// longer fits into a cache.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cost/rollup.h"

namespace sluiceway::cost {
namespace {

constexpr std::size_t kEvents = 1'000'000;
constexpr std::size_t kLabelSets = 200;
constexpr std::size_t kDays = 31;

struct Call {
  std::uint32_t label_set, hour;
  Nanousd cost;
  Usage usage;
};

// A generator that is cheap and the same everywhere.
std::uint64_t next(std::uint64_t& state) {
  state = state * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
  return state >> 33;
}

const std::vector<Call>& calls() {
  static const auto* made = [] {
    auto* out = new std::vector<Call>(kEvents);
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < kEvents; ++i) {
      Call& call = (*out)[i];
      call.label_set = static_cast<std::uint32_t>(next(state) % kLabelSets);
      call.hour = static_cast<std::uint32_t>(i * kDays * 24 / kEvents);  // as they were booked
      call.cost = static_cast<Nanousd>(next(state) % 1'000'000);
      call.usage.set(Bucket::kInput, static_cast<std::int64_t>(next(state) % 4'000));
      call.usage.set(Bucket::kCacheRead, static_cast<std::int64_t>(next(state) % 4'000));
      call.usage.set(Bucket::kOutput, static_cast<std::int64_t>(next(state) % 900));
    }
    return out;
  }();
  return *made;
}

// Five providers, forty models, 200 tags.
std::vector<std::uint32_t> label_numbers(Rollup& rollup) {
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i < kLabelSets; ++i) {
    const std::string provider = "provider-" + std::to_string(i % 5);
    const std::string model = "model-" + std::to_string(i % 40);
    const std::string tags = "video=" + std::to_string(i);
    out.push_back(rollup.labels_number({.provider = provider, .model = model, .tags = tags}));
  }
  return out;
}

std::vector<std::uint32_t> period_numbers(Rollup& rollup) {
  std::vector<std::uint32_t> out;
  for (std::size_t hour = 0; hour < kDays * 24; ++hour) {
    const std::string day = "2026-10-" + std::to_string(100 + hour / 24).substr(1);
    const std::string name = day + "T" + std::to_string(100 + hour % 24).substr(1);
    out.push_back(rollup.period_number({.hour = name, .day = day}));
  }
  return out;
}

void roll_up(benchmark::State& state, std::initializer_list<std::string_view> names,
             std::size_t groups) {
  std::vector<GroupBy> by;
  for (const std::string_view name : names) by.push_back(*group_by_from_name(name));
  const std::vector<Call>& all = calls();
  Wide expected = 0;
  for (const Call& call : all) expected += call.cost;
  for (auto _ : state) {
    Rollup rollup(by);
    const std::vector<std::uint32_t> labels = label_numbers(rollup);
    const std::vector<std::uint32_t> periods = period_numbers(rollup);
    for (const Call& call : all) {
      rollup.add({.labels = labels[call.label_set],
                  .period = periods[call.hour],
                  .state = CallState::kSettled,
                  .cost = call.cost,
                  .usage = &call.usage});
    }
    Wide sum = 0;
    for (std::size_t i = 0; i < rollup.size(); ++i) sum += rollup.totals(i).cost;
    if (sum != expected || rollup.size() < groups) {
      state.SkipWithError("the roll-up is wrong");
      return;
    }
  }
  state.counters["events_per_s"] =
      benchmark::Counter(static_cast<double>(kEvents) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

void rollup_provider_model_day(benchmark::State& state) {
  roll_up(state, {"provider", "model", "day"}, 40 * kDays);
}
BENCHMARK(rollup_provider_model_day)->Unit(benchmark::kMillisecond);

void rollup_total(benchmark::State& state) { roll_up(state, {}, 1); }
BENCHMARK(rollup_total)->Unit(benchmark::kMillisecond);

void rollup_hour_tag(benchmark::State& state) { roll_up(state, {"hour", "tags"}, 100'000); }
BENCHMARK(rollup_hour_tag)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluiceway::cost
