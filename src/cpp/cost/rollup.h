// Roll-ups: what calls cost and used, summed by any subset of their labels and periods.
//
// Model. An event is one call as its money stands now: what it cost, or what it holds, and what it
// used. Events name their labels and periods by numbers that the roll-up gave out, so that adding
// one is a flat hash look-up of a packed 64-bit key and a few integer additions. Label sets that
// look the same through the chosen dimensions share a number: grouping by provider, a thousand
// tenants are one. Whether a period is an hour or a month, and in which time zone, is the caller's:
// the roll-up sees names. The unit of the amounts is always a dimension, since units never mix.
//
// Money is summed in 128 bits and cannot overflow; counts of usage saturate at INT64_MAX and say so
// in `saturated`. Merging two roll-ups adds group to group by name, so neither order nor grouping
// of merges changes the answer.
//
// Bounds: add is O(1), some tens of nanoseconds; memory about 350 bytes a group. `groups_max` holds
// it: beyond it add() refuses. Threads: none; each thread fills its own and they are merged.
//
//   Rollup rollup({{Dimension::kProvider}, {Dimension::kDay}});
//   const std::uint32_t labels = rollup.labels_number({.provider = "openai", .model = "gpt-x"});
//   const std::uint32_t day = rollup.period_number({.day = "2026-11-22"});
//   rollup.add({.labels = labels, .period = day, .state = CallState::kSettled, .cost = 8'400});
//   rollup.key(0) -> {"openai", "2026-11-22", "nanousd"}
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/status.h"
#include "base/text.h"
#include "base/usage.h"

namespace sluiceway::cost {

__extension__ typedef __int128 Wide;

// Labels first, then periods.
enum class Dimension : std::uint8_t {
  kProvider,
  kModel,
  kOperation,
  kTenant,
  kAccount,
  kTags,  // the whole canonical text; with a name, the value of that tag
  kUnit,
  kHour,
  kDay,
  kMonth,
  kServiceMonth,  // the month in which the call was reserved; the others: in which it was booked
};

struct GroupBy {
  Dimension dimension = Dimension::kProvider;
  std::string tag;  // kTags only: the tag's name
};

// "provider", "day", "service_month", "tags", "tag:team" ... InvalidArgument names the known ones.
StatusOr<GroupBy> group_by_from_name(std::string_view name);

// The value of a tag in the canonical text "a=1,b=2"; nullopt where it is not there.
std::optional<std::string_view> tag_value(std::string_view tags, std::string_view name);

struct LabelTexts {
  std::string_view provider, model, operation, tenant, account, tags, unit = "nanousd";
};

// The text that `by`, which is no period, groups by; a tag that is not there is the empty text.
std::string_view label_text(const LabelTexts& labels, const GroupBy& by);

struct PeriodTexts {
  std::string_view hour, day, month, service_month;
};

enum class CallState : std::uint8_t { kOpen, kInDoubt, kSettled, kVoided };

struct CallEvent {
  std::uint32_t labels = 0;  // from labels_number()
  std::uint32_t period = 0;  // from period_number()
  CallState state = CallState::kOpen;
  bool estimated = false;        // the cost was estimated, not reported or counted
  bool posted = false;           // settled at its hold, because its end stayed unknown
  bool overrun = false;          // it cost more than was held
  Nanousd cost = 0;              // kSettled: with corrections, less refunds
  Nanousd held = 0;              // kOpen, kInDoubt
  Nanousd refunds = 0;           // already taken off `cost`
  const Usage* usage = nullptr;  // may be null
};

struct CallTotals {
  std::int64_t calls = 0, open = 0, in_doubt = 0, settled = 0, voided = 0;
  std::int64_t estimated = 0, posted = 0, overruns = 0, refunded = 0;  // of the calls above
  Wide cost = 0, cost_estimated = 0, refunds = 0, held_open = 0, held_in_doubt = 0;
  std::array<std::int64_t, kBucketCount> units{};
  std::uint32_t present = 0;  // bit i: some call reported bucket i
  bool saturated = false;     // a count of usage reached INT64_MAX

  void add(const CallEvent& event);
  void merge(const CallTotals& other);
  bool operator==(const CallTotals&) const = default;
};

class Rollup {
 public:
  static constexpr std::size_t kRefused = SIZE_MAX;

  explicit Rollup(std::vector<GroupBy> by, std::size_t groups_max = 1'000'000);

  // Numbers for label sets and periods; the same number for what this roll-up cannot tell apart.
  std::uint32_t labels_number(const LabelTexts& labels);
  std::uint32_t period_number(const PeriodTexts& period);

  // The group that the event was added to, kRefused when that would be one too many.
  std::size_t add(const CallEvent& event) {
    const std::size_t group = group_of(event.labels, event.period);
    if (group != kRefused) totals_[group].add(event);
    return group;
  }
  // ResourceExhausted: too many groups; some of `other` has been added then. InvalidArgument: other
  // dimensions. `from[i]` becomes the group here of the other's group i.
  Status merge(const Rollup& other, std::vector<std::size_t>* from = nullptr);

  std::size_t size() const { return totals_.size(); }
  const CallTotals& totals(std::size_t group) const { return totals_[group]; }
  // One text for each of by(), then the unit.
  std::vector<std::string> key(std::size_t group) const;
  const std::vector<GroupBy>& by() const { return by_; }

 private:
  std::size_t group_of(std::uint32_t labels, std::uint32_t period) {
    const std::uint64_t packed = std::uint64_t{labels} << 32 | period;
    if (packed == last_packed_) return last_group_;
    const auto [it, made] = groups_.try_emplace(packed, static_cast<std::uint32_t>(totals_.size()));
    if (made && !new_group(packed)) return kRefused;
    last_packed_ = packed;
    last_group_ = it->second;
    return last_group_;
  }
  bool new_group(std::uint64_t packed);
  std::uint32_t number_of(text_map<std::uint32_t>& known, std::vector<std::string>& names);

  std::vector<GroupBy> by_;
  std::size_t groups_max_;
  // Projected texts, joined with their lengths, to numbers and back.
  text_map<std::uint32_t> label_numbers_, period_numbers_;
  std::vector<std::string> label_names_, period_names_;
  std::string scratch_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> groups_;
  std::vector<std::uint64_t> packed_;  // by group
  std::vector<CallTotals> totals_;
  std::uint64_t last_packed_ = UINT64_MAX;
  std::size_t last_group_ = 0;
};

}  // namespace sluiceway::cost
