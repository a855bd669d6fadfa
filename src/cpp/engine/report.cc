// From rows to groups: see report.h.
#include "engine/report.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/calendar.h"
#include "engine/call_fold.h"

namespace sluiceway::engine {
namespace {

using cost::Dimension;

bool by_any(const std::vector<cost::GroupBy>& by, Dimension from, Dimension to) {
  return std::ranges::any_of(
      by, [&](const auto& one) { return one.dimension >= from && one.dimension <= to; });
}

// The period numbers of a roll-up, from two instants. Every zone's offset is a multiple of 15
// minutes since 1972, so that a quarter of an hour lies in one hour, day and month: names are made
// once a quarter.
class Periods {
 public:
  static constexpr std::int64_t kQuarterNs = 900 * kNsPerSecond;

  Periods(const ReportQuery& query, const TimeZone& zone, cost::Rollup& rollup)
      : zone_(zone),
        rollup_(rollup),
        booked_(by_any(query.by, Dimension::kHour, Dimension::kMonth)),
        reserved_(by_any(query.by, Dimension::kServiceMonth, Dimension::kServiceMonth)) {}

  std::uint32_t number(std::int64_t booked_ns, std::int64_t reserved_ns) {
    const std::uint64_t booked = booked_ ? quarter(booked_ns) : 0;
    const std::uint64_t reserved = reserved_ ? quarter(reserved_ns) : 0;
    const std::uint64_t packed = booked << 32 | reserved;
    if (packed == last_) return last_number_;
    const auto it = numbers_.find(packed);
    last_ = packed;
    last_number_ = it != numbers_.end() ? it->second : make(packed, booked_ns, reserved_ns);
    return last_number_;
  }

 private:
  static std::uint64_t quarter(std::int64_t ns) {
    return static_cast<std::uint32_t>(std::max<std::int64_t>(ns, 0) / kQuarterNs);
  }

  std::uint32_t make(std::uint64_t packed, std::int64_t booked_ns, std::int64_t reserved_ns) {
    const std::string hour = window_key(Period::kHour, booked_ns, zone_);
    const std::string day = window_key(Period::kDay, booked_ns, zone_);
    const std::string month = window_key(Period::kMonth, booked_ns, zone_);
    const std::string service = window_key(Period::kMonth, reserved_ns, zone_);
    const std::uint32_t number =
        rollup_.period_number({.hour = hour, .day = day, .month = month, .service_month = service});
    if (numbers_.size() >= kKnownMax) numbers_.clear();
    numbers_.emplace(packed, number);
    return number;
  }

  static constexpr std::size_t kKnownMax = 1'000'000;  // 28 years of quarters

  const TimeZone& zone_;
  cost::Rollup& rollup_;
  bool booked_, reserved_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> numbers_;
  std::uint64_t last_ = UINT64_MAX;
  std::uint32_t last_number_ = 0;
};

// What is known of a label set: its number, or that it is filtered out.
struct Labels {
  std::uint32_t number = 0;
  bool wanted = true;
};

cost::LabelTexts texts_of(const store::CallLabels& labels) {
  return {.provider = labels.provider,
          .model = labels.model,
          .operation = labels.operation,
          .tenant = labels.tenant,
          .account = labels.account,
          .tags = labels.tags,
          .unit = labels.unit};
}

bool wanted(const cost::LabelTexts& labels, const ReportQuery& query) {
  return std::ranges::all_of(query.where, [&](const auto& condition) {
    const auto& [which, value] = condition;
    if (which.dimension == Dimension::kTags && !which.tag.empty()) {  // no tag is not an empty one
      return cost::tag_value(labels.tags, which.tag) == std::string_view(value);
    }
    return cost::label_text(labels, which) == value;
  });
}

class Reporter {
 public:
  Reporter(const ReportQuery& query, TimeZone zone)
      : query_(query),
        zone_(std::move(zone)),
        rollup_(query.by, query.groups_max),
        periods_(query, zone_, rollup_) {}

  // False: there are too many groups.
  bool add(const store::Entry& row) {
    ++rows_;
    if (fold_.begins_another(row.call_id) && !end_call()) return false;
    fold_.add(row);
    if (row.kind == store::EntryKind::kReserve || !labeled_) labels_ = labels_of(row);
    labeled_ = true;
    if (row.kind == store::EntryKind::kReserve && !query_.scope.empty()) {
      in_scope_ = std::ranges::any_of(
          row.scopes, [&](const auto& name) { return scope_matches(name, query_.scope); });
    }
    return true;
  }

  bool end_call() {
    if (!fold_.any()) return true;
    const bool ok = count(fold_.call());
    fold_.clear();
    labeled_ = in_scope_ = false;
    return ok;
  }

  Report report() {
    Report out;
    out.rows = rows_;
    for (std::size_t i = 0; i < rollup_.size(); ++i) {
      out.groups.push_back({rollup_.key(i), rollup_.totals(i), std::move(sketches_[i])});
    }
    std::ranges::sort(out.groups, {}, &ReportGroup::key);
    return out;
  }

 private:
  bool count(const FoldedCall& call) {
    if (!call.reserved || !labels_.wanted) return true;
    if (!query_.scope.empty() && !in_scope_) return true;
    if (call.booked_ns < query_.from_ns || call.booked_ns >= query_.to_ns) return true;
    const std::size_t group =
        rollup_.add({.labels = labels_.number,
                     .period = periods_.number(call.booked_ns, call.reserved_ns),
                     .state = call.state,
                     .estimated = call.estimated,
                     .posted = call.posted,
                     .overrun = call.overrun,
                     .cost = call.cost,
                     .held = call.hold,
                     .refunds = call.refunds,
                     .usage = &call.usage});
    if (group == cost::Rollup::kRefused) return false;
    if (group >= sketches_.size()) sketches_.resize(group + 1);
    if (call.latency_ns > 0) sketches_[group].add(call.latency_ns);
    return true;
  }

  // Label objects are shared among the rows of a scan: looked up by address.
  Labels labels_of(const store::Entry& row) {
    const auto [it, made] = known_.try_emplace(row.labels.get());
    if (made) {
      kept_.push_back(row.labels);
      static const store::CallLabels none;
      const cost::LabelTexts texts = texts_of(row.labels == nullptr ? none : *row.labels);
      it->second.wanted = wanted(texts, query_);
      it->second.number = rollup_.labels_number(texts);
    }
    return it->second;
  }

  const ReportQuery& query_;
  TimeZone zone_;
  cost::Rollup rollup_;
  Periods periods_;
  std::vector<stats::LatencySketch> sketches_;  // by group
  CallFold fold_;
  Labels labels_;  // of the call being folded, once `labeled_`
  bool labeled_ = false, in_scope_ = false;
  std::int64_t rows_ = 0;
  absl::flat_hash_map<const store::CallLabels*, Labels> known_;
  std::vector<std::shared_ptr<const store::CallLabels>> kept_;  // the addresses stay theirs
};

}  // namespace

bool scope_matches(std::string_view name, std::string_view wanted) {
  if (!name.starts_with(wanted)) return false;
  if (name.size() == wanted.size()) return true;
  const char next = name[wanted.size()];
  return next == '@' || (next == ':' && wanted.find(':') == std::string_view::npos);
}

StatusOr<Report> make_report(store::Ledger& ledger, const ReportQuery& query) {
  StatusOr<TimeZone> zone = TimeZone::load(query.time_zone);
  if (!zone.ok()) return zone.status();
  for (const auto& [which, value] : query.where) {
    if (which.dimension >= Dimension::kHour) {
      return invalid_argument("a report is bounded in time by from and to");
    }
  }
  Reporter reporter(query, *std::move(zone));
  bool fits = true;
  // Scopes are wanted for a scope alone: texts are most of what a row costs.
  const store::EntryBounds bounds{.lean = query.scope.empty(), .archives = query.archives};
  const auto add = [&](std::span<const store::Entry> rows) {
    for (const store::Entry& row : rows) {
      fits = fits && reporter.add(row);
    }
    return fits;
  };
  if (Status status = ledger.read_entries(bounds, add); !status.ok()) return status;
  if (!fits || !reporter.end_call()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the report has more than ", query.groups_max,
                     " groups; narrow it in time, or group by less"));
  }
  return reporter.report();
}

}  // namespace sluiceway::engine
