// Header times to nanoseconds: see rate_headers.h.
#include "parse/rate_headers.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/clock.h"
#include "base/text.h"

namespace sluiceway::parse {
namespace {

using Ns = std::int64_t;
using MaybeNs = std::optional<Ns>;

constexpr Ns kNsMax = std::numeric_limits<Ns>::max();
constexpr Ns kLongestRetryAfterNs = 3'650 * 86'400 * kNsPerSecond;  // ten years
constexpr Ns kSecondsPerDay = 86'400;
constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> kLongDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Reads a text of fixed shape from left to right; once something did not fit, `ok` stays false.
struct Scanner {
  std::string_view rest;
  bool ok = true;

  void text(std::string_view wanted) {
    ok = ok && rest.substr(0, wanted.size()) == wanted;
    if (ok) rest.remove_prefix(wanted.size());
  }
  // Exactly `count` digits.
  int digits(int count) {
    int value = 0;
    ok = ok && rest.size() >= static_cast<std::size_t>(count);
    for (int i = 0; ok && i < count; ++i) {
      ok = is_digit(rest[0]);
      value = value * 10 + (rest[0] - '0');
      if (ok) rest.remove_prefix(1);
    }
    return ok ? value : 0;
  }
  // The index of the name that comes next.
  template <std::size_t N>
  int name(const std::array<std::string_view, N>& names) {
    for (std::size_t i = 0; ok && i < N; ++i) {
      if (rest.substr(0, names[i].size()) == names[i]) {
        rest.remove_prefix(names[i].size());
        return static_cast<int>(i);
      }
    }
    ok = false;
    return 0;
  }
  bool done() const { return ok && rest.empty(); }
};

struct Moment {
  std::int64_t year = 0;
  int month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

bool is_leap(std::int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

bool is_valid(const Moment& m) {
  static constexpr std::array<int, 12> kLengths = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (m.month < 1 || m.month > 12 || m.day < 1) return false;
  const int length =
      m.month == 2 && is_leap(m.year) ? 29 : kLengths[static_cast<std::size_t>(m.month - 1)];
  return m.day <= length && m.hour <= 23 && m.minute <= 59 && m.second <= 60;
}

// seconds * 10^9 + ns, if that fits.
MaybeNs to_ns(std::int64_t seconds, Ns ns) {
  Ns product = 0, sum = 0;
  if (__builtin_mul_overflow(seconds, kNsPerSecond, &product)) return std::nullopt;
  if (__builtin_add_overflow(product, ns, &sum)) return std::nullopt;
  return sum;
}

std::int64_t unix_seconds(const Moment& m) {
  return days_from_civil(m.year, m.month, m.day) * kSecondsPerDay + std::int64_t{m.hour} * 3600 +
         std::int64_t{m.minute} * 60 + m.second;
}

void clock_time(Scanner& in, Moment& m) {
  m.hour = in.digits(2);
  in.text(":");
  m.minute = in.digits(2);
  in.text(":");
  m.second = in.digits(2);
}

// RFC 9110: a two-digit year that seems more than 50 years ahead means the past century's.
std::int64_t full_year(Moment m, int two_digits, MaybeNs wall_ns) {
  if (!wall_ns) return two_digits + (two_digits < 69 ? 2000 : 1900);
  std::int64_t seconds = *wall_ns / kNsPerSecond;
  const std::int64_t days = seconds / kSecondsPerDay - (seconds % kSecondsPerDay < 0 ? 1 : 0);
  // At or before this year, then forward.
  std::int64_t year = 1970 + (days >= 0 ? days / 366 : days / 365 - 1);
  while (days_from_civil(year + 1, 1, 1) <= days) ++year;
  // "Now plus 50 years" is taken by the calendar: the same date and time, fifty years on.
  m.year = year - year % 100 + 100 + two_digits;
  const std::int64_t year_start = days_from_civil(year, 1, 1) * kSecondsPerDay;
  const std::int64_t limit =
      days_from_civil(year + 50, 1, 1) * kSecondsPerDay + (seconds - year_start);
  while (unix_seconds(m) > limit) m.year -= 100;
  return m.year;
}

// A decimal number with an optional fraction, in units of `unit_ns`; takes what it read off `text`.
// Fraction digits below a nanosecond are cut off.
MaybeNs take_decimal(std::string_view& text, Ns unit_ns) {
  if (text.empty() || !is_digit(text[0])) return std::nullopt;
  Ns whole = 0;
  while (!text.empty() && is_digit(text[0])) {
    if (__builtin_mul_overflow(whole, Ns{10}, &whole)) return std::nullopt;
    if (__builtin_add_overflow(whole, Ns{text[0] - '0'}, &whole)) return std::nullopt;
    text.remove_prefix(1);
  }
  if (__builtin_mul_overflow(whole, unit_ns, &whole)) return std::nullopt;
  if (text.empty() || text[0] != '.') return whole;
  text.remove_prefix(1);
  if (text.empty() || !is_digit(text[0])) return std::nullopt;
  // numerator / scale of the unit; 18 digits are more than a nanosecond of a day needs.
  __extension__ using Wide = __int128;
  Wide numerator = 0, scale = 1;
  for (; !text.empty() && is_digit(text[0]); text.remove_prefix(1)) {
    if (scale >= Wide{1'000'000'000'000'000'000}) continue;
    numerator = numerator * 10 + (text[0] - '0');
    scale *= 10;
  }
  const auto fraction = static_cast<Ns>(numerator * unit_ns / scale);
  Ns sum = 0;
  if (__builtin_add_overflow(whole, fraction, &sum)) return std::nullopt;
  return sum;
}

MaybeNs whole_decimal(std::string_view text, Ns unit_ns) {
  text = trim(text);
  const MaybeNs value = take_decimal(text, unit_ns);
  return text.empty() ? value : std::nullopt;
}

// The same as a wait: more of it than anybody waits, or than the range has, is very long, not
// absent.
MaybeNs decimal_wait(std::string_view text, Ns unit_ns) {
  text = trim(text);
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view fraction = text.substr(digits);
  const bool cut = !fraction.empty();
  if (digits == 0 || (cut && (fraction[0] != '.' || fraction.size() == 1 ||
                              fraction.find_first_not_of("0123456789", 1) != fraction.npos))) {
    return std::nullopt;
  }
  return std::min(whole_decimal(text, unit_ns).value_or(kLongestRetryAfterNs),
                  kLongestRetryAfterNs);
}

Ns wait_until(Ns moment_ns, Ns wall_ns) {
  Ns wait = 0;
  if (moment_ns <= wall_ns) return 0;
  return __builtin_sub_overflow(moment_ns, wall_ns, &wait) ? kNsMax : wait;
}

}  // namespace

// Counts in years that begin on 1 March, so that the leap day is a year's last day. An era is 400
// years, 146,097 days; 719,468 is 1970-01-01 counted from 0000-03-01.
std::int64_t days_from_civil(std::int64_t year, int month, int day) {
  const std::int64_t y = month > 2 ? year : year - 1;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t months_since_march = (month + 9) % 12;
  const std::int64_t day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

MaybeNs parse_http_date_ns(std::string_view text, MaybeNs wall_ns) {
  text = trim(text);
  Scanner in{text};
  Moment m;
  const std::size_t comma = text.find(',');
  // With '-' behind the day it is the second form, though some servers shorten the day's name
  // there.
  if (comma == 3 && !(text.size() > 7 && text[7] == '-')) {  // Sun, 06 Nov 1994 08:49:37 GMT
    in.name(kDays);
    in.text(", ");
    m.day = in.digits(2);
    in.text(" ");
    m.month = in.name(kMonths) + 1;
    in.text(" ");
    m.year = in.digits(4);
    in.text(" ");
    clock_time(in, m);
    in.text(" GMT");
  } else if (comma != std::string_view::npos) {  // Sunday, 06-Nov-94 08:49:37 GMT
    if (comma == 3) {
      in.name(kDays);
    } else {
      in.name(kLongDays);
    }
    in.text(", ");
    m.day = in.digits(2);
    in.text("-");
    m.month = in.name(kMonths) + 1;
    in.text("-");
    const int two_digits = in.digits(2);
    in.text(" ");
    clock_time(in, m);
    in.text(" GMT");
    m.year = 2000;  // a leap year, so that 29 February passes until the century is known
    if (!in.done() || !is_valid(m)) return std::nullopt;
    m.year = full_year(m, two_digits, wall_ns);
  } else {  // Sun Nov  6 08:49:37 1994
    in.name(kDays);
    in.text(" ");
    m.month = in.name(kMonths) + 1;
    in.text(" ");
    const bool one_digit = in.rest.substr(0, 1) == " ";
    if (one_digit) in.text(" ");
    m.day = in.digits(one_digit ? 1 : 2);
    in.text(" ");
    clock_time(in, m);
    in.text(" ");
    m.year = in.digits(4);
  }
  if (!in.done() || !is_valid(m)) return std::nullopt;
  return to_ns(unix_seconds(m), 0);
}

MaybeNs parse_rfc3339_ns(std::string_view text) {
  Scanner in{trim(text)};
  Moment m;
  m.year = in.digits(4);
  in.text("-");
  m.month = in.digits(2);
  in.text("-");
  m.day = in.digits(2);
  if (!in.ok || in.rest.empty()) return std::nullopt;
  const char separator = in.rest[0];
  if (separator != 'T' && separator != 't' && separator != ' ') return std::nullopt;
  in.rest.remove_prefix(1);
  clock_time(in, m);
  if (!in.ok || !is_valid(m) || in.rest.empty()) return std::nullopt;

  Ns fraction_ns = 0;
  if (in.rest[0] == '.') {
    in.rest.remove_prefix(1);
    Ns place = kNsPerSecond / 10;
    if (in.rest.empty() || !is_digit(in.rest[0])) return std::nullopt;
    for (; !in.rest.empty() && is_digit(in.rest[0]); in.rest.remove_prefix(1), place /= 10) {
      fraction_ns += place * (in.rest[0] - '0');
    }
    if (in.rest.empty()) return std::nullopt;
  }
  std::int64_t offset_s = 0;
  const char zone = in.rest[0];
  in.rest.remove_prefix(1);
  if (zone == '+' || zone == '-') {
    const int hours = in.digits(2);
    in.text(":");
    const int minutes = in.digits(2);
    if (hours > 23 || minutes > 59) return std::nullopt;
    offset_s = (hours * std::int64_t{3600} + minutes * std::int64_t{60}) * (zone == '+' ? 1 : -1);
  } else if (zone != 'Z' && zone != 'z') {
    return std::nullopt;
  }
  if (!in.done()) return std::nullopt;
  return to_ns(unix_seconds(m) - offset_s, fraction_ns);
}

MaybeNs parse_duration_ns(std::string_view text) {
  struct Unit {
    std::string_view name;
    Ns ns;
  };
  static constexpr std::array<Unit, 8> kUnits = {{{"d", 86'400 * kNsPerSecond},
                                                  {"h", 3'600 * kNsPerSecond},
                                                  {"m", 60 * kNsPerSecond},
                                                  {"s", kNsPerSecond},
                                                  {"ms", 1'000'000},
                                                  {"us", 1'000},
                                                  {"\xC2\xB5s", 1'000},  // the micro sign, as Go
                                                  {"ns", 1}}};
  text = trim(text);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  Ns total = 0, last_unit = kNsMax;
  while (!text.empty()) {
    std::string_view after = text;
    if (!take_decimal(after, 1)) return std::nullopt;  // where the number ends
    const std::size_t name_size = std::min(after.find_first_of("0123456789"), after.size());
    const std::string_view name = after.substr(0, name_size);
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (candidate.name == name) unit = &candidate;
    }
    if (unit == nullptr || unit->ns >= last_unit) return std::nullopt;
    last_unit = unit->ns;
    const MaybeNs part = take_decimal(text, unit->ns);
    if (!part || __builtin_add_overflow(total, *part, &total)) return std::nullopt;
    text.remove_prefix(name_size);
  }
  return total;
}

MaybeNs parse_seconds_ns(std::string_view text) { return whole_decimal(text, kNsPerSecond); }
MaybeNs parse_milliseconds_ns(std::string_view text) { return whole_decimal(text, 1'000'000); }

MaybeNs retry_after_ns(std::string_view retry_after, std::string_view retry_after_ms,
                       std::int64_t wall_ns) {
  const MaybeNs fine = decimal_wait(retry_after_ms, 1'000'000);
  if (fine && *fine > 0) return fine;
  if (const MaybeNs coarse = decimal_wait(retry_after, kNsPerSecond)) return coarse;
  if (const MaybeNs date = parse_http_date_ns(retry_after, wall_ns)) {
    return wait_until(*date, wall_ns);
  }
  return fine;
}

std::optional<ResetFormat> reset_format(std::string_view name) {
  if (name == "duration") return ResetFormat::kDuration;
  if (name == "rfc3339") return ResetFormat::kRfc3339;
  if (name == "unix_seconds") return ResetFormat::kUnixSeconds;
  if (name == "seconds_left") return ResetFormat::kSecondsLeft;
  return std::nullopt;
}

MaybeNs reset_after_ns(std::string_view text, ResetFormat format, std::int64_t wall_ns) {
  MaybeNs moment;
  switch (format) {
    case ResetFormat::kDuration:
      return parse_duration_ns(text);
    case ResetFormat::kSecondsLeft:
      return parse_seconds_ns(text);
    case ResetFormat::kRfc3339:
      moment = parse_rfc3339_ns(text);
      break;
    case ResetFormat::kUnixSeconds:
      moment = parse_seconds_ns(text);
      break;
  }
  if (!moment) return std::nullopt;
  return wait_until(*moment, wall_ns);
}

}  // namespace sluiceway::parse
