// Sums of calls by group: see rollup.h.
#include "cost/rollup.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace sluiceway::cost {
namespace {

constexpr std::array<std::pair<std::string_view, Dimension>, 11> kNames = {{
    {"provider", Dimension::kProvider},
    {"model", Dimension::kModel},
    {"operation", Dimension::kOperation},
    {"tenant", Dimension::kTenant},
    {"account", Dimension::kAccount},
    {"tags", Dimension::kTags},
    {"unit", Dimension::kUnit},
    {"hour", Dimension::kHour},
    {"day", Dimension::kDay},
    {"month", Dimension::kMonth},
    {"service_month", Dimension::kServiceMonth},
}};
constexpr std::string_view kTag = "tag:";

bool is_period(Dimension dimension) { return dimension >= Dimension::kHour; }

std::string_view period_text(const PeriodTexts& period, const GroupBy& by) {
  switch (by.dimension) {
    case Dimension::kHour:
      return period.hour;
    case Dimension::kDay:
      return period.day;
    case Dimension::kMonth:
      return period.month;
    default:
      return period.service_month;
  }
}

// A text with its length before it, so that joined texts are told apart whatever they contain.
void append_sized(std::string& out, std::string_view text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(size >> shift & 0xff);
  out += text;
}

std::string_view take_sized(std::string_view& joined) {
  std::uint32_t size = 0;
  for (unsigned i = 0; i < 4; ++i) {
    size |= static_cast<std::uint32_t>(static_cast<unsigned char>(joined[i])) << (8 * i);
  }
  const std::string_view text = joined.substr(4, size);
  joined.remove_prefix(4 + size);
  return text;
}

bool same_dimensions(const std::vector<GroupBy>& a, const std::vector<GroupBy>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].dimension != b[i].dimension || a[i].tag != b[i].tag) return false;
  }
  return true;
}

}  // namespace

StatusOr<GroupBy> group_by_from_name(std::string_view name) {
  if (name.starts_with(kTag) && name.size() > kTag.size()) {
    return GroupBy{Dimension::kTags, std::string(name.substr(kTag.size()))};
  }
  std::string known;
  for (const auto& [text, dimension] : kNames) {
    if (text == name) return GroupBy{dimension, {}};
    known.append(text).append(", ");
  }
  return invalid_argument(absl::StrCat("a report cannot be by '", to_absl(name), "'; it can be by ",
                                       known,
                                       "tag:NAME (the value of one tag; tags is all of them)"));
}

std::optional<std::string_view> tag_value(std::string_view tags, std::string_view name) {
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find(','));
    tags.remove_prefix(std::min(tags.size(), tag.size() + 1));
    const std::size_t equals = tag.find('=');
    if (tag.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string_view{} : tag.substr(equals + 1);
  }
  return std::nullopt;
}

std::string_view label_text(const LabelTexts& labels, const GroupBy& by) {
  switch (by.dimension) {
    case Dimension::kProvider:
      return labels.provider;
    case Dimension::kModel:
      return labels.model;
    case Dimension::kOperation:
      return labels.operation;
    case Dimension::kTenant:
      return labels.tenant;
    case Dimension::kAccount:
      return labels.account;
    case Dimension::kTags:
      return by.tag.empty() ? labels.tags : tag_value(labels.tags, by.tag).value_or("");
    default:
      return labels.unit;
  }
}

void CallTotals::add(const CallEvent& event) {
  ++calls;
  switch (event.state) {
    case CallState::kOpen:
      ++open;
      held_open += event.held;
      break;
    case CallState::kInDoubt:
      ++in_doubt;
      held_in_doubt += event.held;
      break;
    case CallState::kVoided:
      ++voided;
      break;
    case CallState::kSettled:
      ++settled;
      cost += event.cost;
      if (event.estimated) {
        ++estimated;
        cost_estimated += event.cost;
      }
      posted += event.posted ? 1 : 0;
      overruns += event.overrun ? 1 : 0;
      break;
  }
  if (event.refunds != 0) {
    ++refunded;
    refunds += event.refunds;
  }
  if (event.usage == nullptr) return;
  present |= event.usage->present;
  for (std::uint32_t left = event.usage->present; left != 0; left &= left - 1) {
    const auto bucket = static_cast<std::size_t>(std::countr_zero(left));
    const std::int64_t more = event.usage->units[bucket];
    if (more <= 0) continue;  // a count is never below zero
    if (__builtin_add_overflow(units[bucket], more, &units[bucket])) {
      units[bucket] = std::numeric_limits<std::int64_t>::max();
      saturated = true;
    }
  }
}

void CallTotals::merge(const CallTotals& other) {
  calls += other.calls;
  open += other.open;
  in_doubt += other.in_doubt;
  settled += other.settled;
  voided += other.voided;
  estimated += other.estimated;
  posted += other.posted;
  overruns += other.overruns;
  refunded += other.refunded;
  cost += other.cost;
  cost_estimated += other.cost_estimated;
  refunds += other.refunds;
  held_open += other.held_open;
  held_in_doubt += other.held_in_doubt;
  present |= other.present;
  saturated = saturated || other.saturated;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (__builtin_add_overflow(units[i], other.units[i], &units[i])) {
      units[i] = std::numeric_limits<std::int64_t>::max();
      saturated = true;
    }
  }
}

Rollup::Rollup(std::vector<GroupBy> by, std::size_t groups_max)
    : by_(std::move(by)), groups_max_(std::min<std::size_t>(groups_max, UINT32_MAX - 1)) {}

// The number of the text in scratch_.
std::uint32_t Rollup::number_of(text_map<std::uint32_t>& known, std::vector<std::string>& names) {
  const auto it = known.find(std::string_view(scratch_));
  if (it != known.end()) return it->second;
  const auto number = static_cast<std::uint32_t>(names.size());
  known.emplace(scratch_, number);
  names.push_back(scratch_);
  return number;
}

std::uint32_t Rollup::labels_number(const LabelTexts& labels) {
  scratch_.clear();
  for (const GroupBy& by : by_) {
    if (!is_period(by.dimension)) append_sized(scratch_, label_text(labels, by));
  }
  append_sized(scratch_, labels.unit);
  return number_of(label_numbers_, label_names_);
}

std::uint32_t Rollup::period_number(const PeriodTexts& period) {
  scratch_.clear();
  for (const GroupBy& by : by_) {
    if (is_period(by.dimension)) append_sized(scratch_, period_text(period, by));
  }
  return number_of(period_numbers_, period_names_);
}

bool Rollup::new_group(std::uint64_t packed) {
  if (totals_.size() >= groups_max_) {
    groups_.erase(packed);
    return false;
  }
  packed_.push_back(packed);
  totals_.emplace_back();
  return true;
}

Status Rollup::merge(const Rollup& other, std::vector<std::size_t>* from) {
  if (!same_dimensions(by_, other.by_)) {
    return invalid_argument("roll-ups by other dimensions cannot be merged");
  }
  std::vector<std::uint32_t> labels, periods;
  for (const std::string& name : other.label_names_) {
    scratch_ = name;
    labels.push_back(number_of(label_numbers_, label_names_));
  }
  for (const std::string& name : other.period_names_) {
    scratch_ = name;
    periods.push_back(number_of(period_numbers_, period_names_));
  }
  if (from != nullptr) from->clear();
  for (std::size_t i = 0; i < other.totals_.size(); ++i) {
    const std::uint64_t packed = other.packed_[i];
    const std::size_t group = group_of(labels[packed >> 32], periods[packed & UINT32_MAX]);
    if (group == kRefused) return absl::ResourceExhaustedError("too many groups");
    totals_[group].merge(other.totals_[i]);
    if (from != nullptr) from->push_back(group);
  }
  return absl::OkStatus();
}

std::vector<std::string> Rollup::key(std::size_t group) const {
  std::string_view labels = label_names_[packed_[group] >> 32];
  std::string_view periods = period_names_[packed_[group] & UINT32_MAX];
  std::vector<std::string> out;
  out.reserve(by_.size() + 1);
  for (const GroupBy& by : by_) {
    out.emplace_back(take_sized(is_period(by.dimension) ? periods : labels));
  }
  out.emplace_back(take_sized(labels));
  return out;
}

}  // namespace sluiceway::cost
