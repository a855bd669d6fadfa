// Reports: what the ledger's calls cost, used and took, by group.
//
// Model. The ledger's rows are read in key order, so that a call's rows come one after the other;
// each call is folded into one event (its last word on money: settlement, posting and corrections,
// less refunds) and counted once, in cost::Rollup; the latency of its settlement goes into a
// stats::LatencySketch beside the group. Here the three rooms meet, which do not know each other.
//
// A call is booked when it ended (settled, voided, posted, gone into doubt), or while it is open,
// when it was reserved; a later correction or refund changes its amount, not its place. `from`,
// `to` and the periods hour, day and month go by that; service_month goes by the reservation, as
// budgets do. What is archived is read where the archives are named.
//
// Bounds: O(rows), around a million rows a second; memory a few kilobytes a group, at most
// `groups_max` of them. Threads: any; it reads on the ledger's read connection and holds no lock of
// the engine. Blocks.
//
//   StatusOr<Report> report = make_report(engine.ledger(), {.by = {{Dimension::kModel}}});
//   report->groups[0].key -> {"gpt-x", "nanousd"}; .totals.cost; .latency.quantile(0.95)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "cost/rollup.h"
#include "stats/latency_sketch.h"
#include "store/ledger.h"

namespace sluiceway::engine {

struct ReportQuery {
  std::vector<cost::GroupBy> by;
  std::int64_t from_ns = INT64_MIN, to_ns = INT64_MAX;  // ledger time, [from, to)
  std::string time_zone = "UTC";                        // of the periods
  // Only calls reserved in this scope: "video:42" (any window), "video:42@2026-11-22" (that
  // one), or "video" (any key of the kind). Empty: all calls.
  std::string scope;
  // Only calls whose label is that: {{Dimension::kTags, "team"}, "films"}. No periods.
  std::vector<std::pair<cost::GroupBy, std::string>> where;
  std::size_t groups_max = 100'000;
  std::vector<std::string> archives;  // files of this ledger's: their calls too
};

struct ReportGroup {
  std::vector<std::string> key;  // one text for each of `by`, then the unit
  cost::CallTotals totals;
  stats::LatencySketch latency;  // of settled calls whose latency is known
};

struct Report {
  std::vector<ReportGroup> groups;  // ordered by key
  std::int64_t rows = 0;            // read
};

// InvalidArgument: an unknown time zone, or `where` names a period. ResourceExhausted: more than
// groups_max groups. Otherwise the ledger's own error.
StatusOr<Report> make_report(store::Ledger& ledger, const ReportQuery& query);

// Whether a scope's name with its window is what `wanted` asks for, see ReportQuery::scope.
bool scope_matches(std::string_view name, std::string_view wanted);

}  // namespace sluiceway::engine
