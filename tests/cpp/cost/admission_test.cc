// Verdicts on batches: the invariant settled + held + in_doubt + amount <= limit, all scopes or
// none. Amounts are chosen so that the answers can be read off.
#include "cost/admission.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

namespace sluiceway::cost {
namespace {

using Indices = std::vector<std::uint32_t>;
using Verdict = AdmissionVerdict;

std::vector<AdmissionResult> run(std::vector<ScopeBalance>& scopes, const Indices& indices,
                                 const std::vector<AdmissionItem>& items) {
  std::vector<AdmissionResult> out(items.size(), {Verdict::kBlocked, 99});
  const AdmitFn function = &admit;
  function(scopes, indices, items, out);
  return out;
}

TEST(Admit, FillsAScopeToItsLimitAndNotAbove) {
  std::vector<ScopeBalance> scopes = {{.limit = 100, .settled = 40, .held = 30, .in_doubt = 20}};
  const auto out = run(scopes, {0}, {{11, 0, 1}, {10, 0, 1}, {1, 0, 1}, {0, 0, 1}});
  EXPECT_EQ(out[0].verdict, Verdict::kExceeded);
  EXPECT_EQ(out[0].scope, 0u);
  EXPECT_EQ(out[1].verdict, Verdict::kAdmitted);
  EXPECT_EQ(out[2].verdict, Verdict::kExceeded);
  EXPECT_EQ(out[3].verdict, Verdict::kAdmitted);  // nothing fits into a full scope
  EXPECT_EQ(scopes[0].held, 40);
}

TEST(Admit, RefusedCallLeavesNoTraceInTheOtherScopes) {
  std::vector<ScopeBalance> scopes = {{.limit = 100}, {.limit = 5}, {.limit = 100}};
  const auto out = run(scopes, {0, 1, 2, 0, 2}, {{6, 0, 3}, {100, 3, 2}});
  EXPECT_EQ(out[0].verdict, Verdict::kExceeded);
  EXPECT_EQ(out[0].scope, 1u);
  EXPECT_EQ(out[1].verdict, Verdict::kAdmitted);
  EXPECT_EQ(scopes[0].held, 100);
  EXPECT_EQ(scopes[1].held, 0);
  EXPECT_EQ(scopes[2].held, 100);
}

TEST(Admit, BurstOfFiveOnFortyFiveCents) {
  // Five calls of $0.10 at once on a $0.45 key: four fit. (nano-dollars)
  std::vector<ScopeBalance> scopes = {{.limit = 450'000'000}};
  const std::vector<AdmissionItem> items(5, {100'000'000, 0, 1});
  const auto out = run(scopes, {0}, items);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(out[i].verdict, Verdict::kAdmitted);
  EXPECT_EQ(out[4].verdict, Verdict::kExceeded);
  EXPECT_EQ(scopes[0].held, 400'000'000);
}

TEST(Admit, BlockedScopesAdmitNothing) {
  std::vector<ScopeBalance> scopes = {{.limit = 100, .blocked = true}, {}};
  scopes[1].blocked = true;
  const auto out = run(scopes, {0, 1}, {{0, 0, 1}, {1, 1, 1}});
  EXPECT_EQ(out[0].verdict, Verdict::kBlocked);
  EXPECT_EQ(out[1].verdict, Verdict::kBlocked);
  EXPECT_EQ(out[1].scope, 1u);
}

TEST(Admit, ScopeWithoutALimitOnlyCountsAndNoScopeIsAlwaysAdmitted) {
  std::vector<ScopeBalance> scopes = {{.settled = kNanousdMax - 5}};
  const auto out = run(scopes, {0}, {{1000, 0, 1}, {kNanousdMax, 0, 0}, {kNanousdMax, 0, 1}});
  for (const auto& result : out) EXPECT_EQ(result.verdict, Verdict::kAdmitted);
  EXPECT_EQ(scopes[0].held, kNanousdMax);
}

TEST(Admit, OverflowRefuses) {
  std::vector<ScopeBalance> scopes = {
      {.limit = kNanousdMax - 1, .settled = kNanousdMax - 10, .held = 5}};
  const auto out = run(scopes, {0}, {{kNanousdMax, 0, 1}, {5, 0, 1}, {4, 0, 1}});
  EXPECT_EQ(out[0].verdict, Verdict::kExceeded);
  EXPECT_EQ(out[1].verdict, Verdict::kExceeded);
  EXPECT_EQ(out[2].verdict, Verdict::kAdmitted);
}

TEST(Admit, OverrunScopeRefusesEvenNothing) {
  std::vector<ScopeBalance> scopes = {{.limit = 100, .settled = 101}};
  EXPECT_EQ(run(scopes, {0}, {{0, 0, 1}})[0].verdict, Verdict::kExceeded);
}

TEST(Admit, ScopeNamedTwiceIsHeldOnce) {
  std::vector<ScopeBalance> scopes = {{.limit = 10}};
  EXPECT_EQ(run(scopes, {0, 0}, {{6, 0, 2}})[0].verdict, Verdict::kAdmitted);
  EXPECT_EQ(scopes[0].held, 6);
}

TEST(Admit, MalformedItemsAreRefused) {
  std::vector<ScopeBalance> scopes = {{.limit = 100}};
  const auto out = run(scopes, {0, 7},
                       {{-1, 0, 1},             // an amount below zero would make room
                        {1, 1, 1},              // scope 7 does not exist
                        {1, 1, 2},              // past the end of the indices
                        {1, 0xffffffffu, 2}});  // wraps around in 32 bits
  for (const auto& result : out) EXPECT_EQ(result.verdict, Verdict::kExceeded);
  EXPECT_EQ(scopes[0].held, 0);
}

// Against a naive model that copies all scopes, adds, and looks whether any is over.
TEST(Admit, AgreesWithANaiveModel) {
  const unsigned seed = 20261122;
  std::cout << "seed " << seed << '\n';
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  for (int round = 0; round < 2000; ++round) {
    std::vector<ScopeBalance> scopes(4);
    for (auto& scope : scopes) {
      scope = {.limit = below(200), .settled = below(60), .held = below(60), .in_doubt = below(9)};
      scope.blocked = below(20) == 0;
    }
    Indices indices;
    std::vector<AdmissionItem> items;
    for (int n = 0; n < 6; ++n) {
      AdmissionItem item{below(40), static_cast<std::uint32_t>(indices.size()), 0};
      for (std::uint32_t s = 0; s < 4; ++s) {
        if (below(2) == 0) continue;
        indices.push_back(s);
        ++item.index_count;
      }
      items.push_back(item);
    }
    auto model = scopes;
    const auto out = run(scopes, indices, items);
    for (std::size_t n = 0; n < items.size(); ++n) {
      auto trial = model;
      bool ok = true;
      for (std::uint32_t k = 0; k < items[n].index_count; ++k) {
        auto& scope = trial[indices[items[n].first_index + k]];
        scope.held += items[n].amount;
        ok = ok && !scope.blocked && scope.settled + scope.held + scope.in_doubt <= scope.limit;
      }
      EXPECT_EQ(out[n].verdict == Verdict::kAdmitted, ok) << "round " << round << " item " << n;
      if (ok) model = trial;
    }
    for (std::size_t s = 0; s < scopes.size(); ++s) EXPECT_EQ(scopes[s].held, model[s].held);
  }
}

}  // namespace
}  // namespace sluiceway::cost
