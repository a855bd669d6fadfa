// Choosing a price row and settling usage with it: see price_book.h.
#include "cost/price_book.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/clock.h"

namespace sluiceway::cost {
namespace {

constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kDayNs = kDayS * kNsPerSecond;
constexpr std::int64_t kDaysLooked = 32;
constexpr std::int32_t kRateDenMax = 86'400;  // seconds in the longest unit that is sold, a day

constexpr std::array<Bucket, 6> kPromptBuckets = {Bucket::kInput,        Bucket::kCacheRead,
                                                  Bucket::kCacheWrite5m, Bucket::kCacheWrite1h,
                                                  Bucket::kAudioInput,   Bucket::kImageInput};

// Rounds towards minus infinity, so that instants before 1970 fall into the right second and day.
constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

bool is_standard(std::string_view tier) {
  return tier.empty() || tier == "default" || tier == "standard";
}

bool in_windows(const PriceRow& row, std::int64_t wall_ns) {
  const std::int64_t wall_s = floor_div(wall_ns, kNsPerSecond);
  const std::int64_t day = floor_div(wall_s, kDayS);
  const std::int64_t second = wall_s - day * kDayS;
  for (const std::int32_t excluded : row.excluded_days) {
    if (excluded == day) return false;
  }
  // 1970-01-01 was a Thursday: 3 when Monday is 0.
  const std::int64_t weekday = (day + 3) - floor_div(day + 3, 7) * 7;
  for (const TimeWindow& window : row.windows) {
    if (((window.weekday_mask >> weekday) & 1) == 0) continue;
    if (second >= window.from_s && second < window.to_s) return true;
  }
  return false;
}

Status row_error(const PriceSheet& sheet, const PriceRow& row, std::string_view what) {
  std::string message = "price row '" + row.version + "' of " + sheet.provider + "/" + sheet.model;
  message += ": ";
  message += what;
  return invalid_argument(message);
}

Status check_row(const PriceSheet& sheet, const PriceRow& row) {
  if (row.version.empty()) return row_error(sheet, row, "has no version");
  if (row.effective_from_ns >= row.effective_to_ns) {
    return row_error(sheet, row, "ends before it begins");
  }
  if (row.prompt_from < 0 || row.prompt_from >= row.prompt_to) {
    return row_error(sheet, row, "has an empty range of prompt tokens");
  }
  if (row.factor_num < 0 || row.factor_den <= 0) {
    return row_error(sheet, row, "needs a factor of at least 0 over at least 1");
  }
  if (row.windows_inverted && row.windows.empty()) {
    return row_error(sheet, row, "inverts windows that it does not have");
  }
  for (const TimeWindow& window : row.windows) {
    if (window.from_s < 0 || window.from_s >= window.to_s || window.to_s > kDayS ||
        (window.weekday_mask & 0x7f) == 0) {
      return row_error(sheet, row, "has an empty window, or one outside the day");
    }
  }
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (row.rate[i] < -1) return row_error(sheet, row, "has a rate below zero");
    if (row.rate_den[i] < 1 || row.rate_den[i] > kRateDenMax) {
      return row_error(sheet, row, "has a rate over less than 1 or over more than 86,400");
    }
    if (row.rate_den[i] != 1 && static_cast<Bucket>(i) <= Bucket::kImageOutput) {
      return row_error(sheet, row, "has a token rate that is not a whole number");
    }
  }
  return absl::OkStatus();
}

// Whether the row prices such a request, at whatever time.
bool sells(const PriceRow& row, std::int64_t prompt_tokens, const Selector& selector) {
  if (!in_range(prompt_tokens, row.prompt_from, row.prompt_to)) return false;
  if (row.plan != selector.plan || !same_tier(row.service_tier, selector.service_tier)) {
    return false;
  }
  if (!row.size.empty() && row.size != selector.size) return false;
  return row.quality.empty() || row.quality == selector.quality;
}

// The factor that one line takes, with the rate's own denominator in it.
std::pair<std::int64_t, std::int64_t> factor_of(const PriceRow& row, Bucket bucket) {
  const std::int64_t den = row.rate_den[static_cast<std::size_t>(bucket)];
  if (!takes_factor(bucket)) return {1, den};
  return {row.factor_num, den * row.factor_den};
}

}  // namespace

StatusOr<std::shared_ptr<const PriceBook>> PriceBook::make(std::vector<PriceSheet> sheets,
                                                           std::string version) {
  std::shared_ptr<PriceBook> book(new PriceBook());
  book->version_ = std::move(version);
  book->sheets_.reserve(sheets.size());
  for (PriceSheet& given : sheets) {
    auto sheet = std::make_shared<const PriceSheet>(std::move(given));
    if (sheet->provider.empty() || sheet->model.empty()) {
      return invalid_argument("a price sheet needs a provider and a model");
    }
    if (sheet->rows.empty()) {
      return invalid_argument("no price rows for " + sheet->provider + "/" + sheet->model);
    }
    for (const PriceRow& row : sheet->rows) {
      if (Status status = check_row(*sheet, row); !status.ok()) return status;
    }
    auto& models = book->by_provider_[sheet->provider];
    std::vector<std::string> names = sheet->aliases;
    names.push_back(sheet->model);
    for (const std::string& name : names) {
      if (!models.emplace(name, sheet).second) {
        return invalid_argument("two price sheets of " + sheet->provider + " name '" + name + "'");
      }
    }
    book->sheets_.push_back(std::move(sheet));
  }
  return std::shared_ptr<const PriceBook>(std::move(book));
}

std::shared_ptr<const PriceSheet> PriceBook::find(std::string_view provider,
                                                  std::string_view model) const {
  const auto models = by_provider_.find(provider);
  if (models == by_provider_.end()) return nullptr;
  const auto sheet = models->second.find(model);
  return sheet == models->second.end() ? nullptr : sheet->second;
}

std::int64_t prompt_tokens(const Usage& usage) {
  std::int64_t sum = 0;
  for (const Bucket bucket : kPromptBuckets) {
    sum = saturating_add(sum, std::max<std::int64_t>(usage.get(bucket), 0));
  }
  return sum;
}

bool same_tier(std::string_view row_tier, std::string_view service_tier) {
  return row_tier == service_tier || (is_standard(row_tier) && is_standard(service_tier));
}

bool in_range(std::int64_t value, std::int64_t from, std::int64_t to) {
  return value >= from && (value < to || to == std::numeric_limits<std::int64_t>::max());
}

bool holds_at(const PriceRow& row, std::int64_t wall_ns) {
  if (!in_range(wall_ns, row.effective_from_ns, row.effective_to_ns)) return false;
  if (row.windows.empty()) return true;
  return in_windows(row, wall_ns) != row.windows_inverted;
}

// When a row holds is piecewise constant in time: it changes only at its dates, at midnight and at
// its windows' edges, and each piece is closed on the left. So the range's first instant and every
// edge inside the range tell all.
bool holds_within(const PriceRow& row, std::int64_t from, std::int64_t to) {
  if (row.effective_from_ns > to) return false;
  const bool begun = row.effective_from_ns <= from;
  if (begun && !in_range(from, row.effective_from_ns, row.effective_to_ns)) return false;
  if (row.windows.empty() || holds_at(row, from)) return true;
  if (!begun && holds_at(row, row.effective_from_ns)) return true;
  const std::int64_t first_day = from / kDayNs - (from % kDayNs < 0 ? 1 : 0);
  const std::int64_t last_day = to / kDayNs - (to % kDayNs < 0 ? 1 : 0);
  if (last_day - first_day > kDaysLooked) return true;
  const auto edge_holds = [&](std::int64_t day, std::int64_t second) {
    std::int64_t edge = 0;  // days that int64 cuts (in 1677 and 2262) are not looked at
    if (__builtin_mul_overflow(day, kDayNs, &edge)) return false;
    if (__builtin_add_overflow(edge, second * kNsPerSecond, &edge)) return false;
    return edge > from && edge <= to && holds_at(row, edge);
  };
  for (std::int64_t day = first_day; day <= last_day; ++day) {
    if (edge_holds(day, 0)) return true;
    for (const TimeWindow& window : row.windows) {
      if (edge_holds(day, window.from_s) || edge_holds(day, window.to_s)) return true;
    }
  }
  return false;
}

const PriceRow* row_at(const PriceSheet& sheet, std::int64_t wall_ns, std::int64_t prompt_tokens,
                       const Selector& selector) {
  for (const PriceRow& row : sheet.rows) {
    if (sells(row, prompt_tokens, selector) && holds_at(row, wall_ns)) return &row;
  }
  return nullptr;
}

std::optional<Dearest> dearest_within(const PriceSheet& sheet, std::int64_t from_ns,
                                      std::int64_t to_ns, const Usage& usage,
                                      const Selector& selector) {
  const std::int64_t prompt = prompt_tokens(usage);
  std::optional<Dearest> dearest;
  const auto look = [&](const PriceRow* row) {  // whether it has a price
    if (row == nullptr) return false;
    const StatusOr<Nanousd> cost = price(*row, usage);
    if (!cost.ok()) return false;
    if (!dearest || *cost > dearest->cost) dearest = Dearest{*cost, row};
    return true;
  };
  if (!look(row_at(sheet, from_ns, prompt, selector))) return std::nullopt;
  if (to_ns <= from_ns) return dearest;
  if (!look(row_at(sheet, to_ns, prompt, selector))) return std::nullopt;
  for (const PriceRow& row : sheet.rows) {
    if (!sells(row, prompt, selector) || !holds_within(row, from_ns, to_ns)) continue;
    if (!look(&row)) return std::nullopt;
  }
  return dearest;
}

Nanousd line_half_even(const PriceRow& row, Bucket bucket, std::int64_t units) {
  const auto [num, den] = factor_of(row, bucket);
  return cost_half_even(units, row.rate[static_cast<std::size_t>(bucket)], num, den);
}

Nanousd line_ceiling(const PriceRow& row, Bucket bucket, std::int64_t units) {
  const auto [num, den] = factor_of(row, bucket);
  return cost_ceiling(units, row.rate[static_cast<std::size_t>(bucket)], num, den);
}

std::int64_t rate_of(const PriceRow& row, Bucket bucket) {
  const std::int64_t own = row.rate[static_cast<std::size_t>(bucket)];
  if (own >= 0 || bucket != Bucket::kReasoning) return own;
  return row.rate[static_cast<std::size_t>(Bucket::kOutput)];
}

std::optional<Bucket> unpriced_bucket(const PriceRow& row, const Usage& usage) {
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    if (usage.units[i] != 0 && rate_of(row, bucket) < 0) return bucket;
  }
  return std::nullopt;
}

StatusOr<Nanousd> price(const PriceRow& row, const Usage& usage) {
  if (const auto bucket = unpriced_bucket(row, usage)) {
    std::string message = "price row '" + row.version + "' has no rate for ";
    message += bucket_name(*bucket);
    return absl::FailedPreconditionError(to_absl(message));
  }
  auto units = usage.units;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (units[i] >= 0) continue;
    std::string message = "usage counts less than zero of ";
    message += bucket_name(static_cast<Bucket>(i));
    return invalid_argument(message);
  }
  // One line for what one rate pays: reasoning without its own rate is output before it is rounded.
  constexpr auto kReasoning = static_cast<std::size_t>(Bucket::kReasoning);
  constexpr auto kOutput = static_cast<std::size_t>(Bucket::kOutput);
  if (row.rate[kReasoning] < 0) {
    units[kOutput] = saturating_add(units[kOutput], units[kReasoning]);
    units[kReasoning] = 0;
  }
  Nanousd sum = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    sum = saturating_add(sum, line_half_even(row, static_cast<Bucket>(i), units[i]));
  }
  return sum;
}

}  // namespace sluiceway::cost
