// Reads the times that providers put into response headers: when to try again, when a limit resets.
//
// Model: pure functions from header text to int64 nanoseconds. Dates are Unix time in nanoseconds
// (UTC, so 1677-09-21 to 2262-04-11), durations count from now. Surrounding spaces and tabs are
// ignored. Everything that is not exactly of the form gives nullopt: garbage, signs, overflow, days
// that the month does not have. Nothing here reads a clock, allocates or locks.
//
// Examples, all seen on real answers:
//   retry-after: 16                              seconds (Anthropic 429)
//   retry-after-ms: 0                            milliseconds (Azure)
//   retry-after: Sun, 06 Nov 1994 08:49:37 GMT   HTTP-date
//   x-ratelimit-reset-requests: 12ms  6m0s       durations (OpenAI)
//   anthropic-ratelimit-requests-reset: 2025-06-02T15:15:48Z   RFC 3339 (Anthropic)
//
// Source: RFC 9110, sections 5.6.7 (HTTP-date) and 10.2.3 (Retry-After); RFC 3339, section 5.6;
// durations as Go's time.Duration prints them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluiceway::parse {

// Days since 1970-01-01 of a day in the proleptic Gregorian calendar; month 1 to 12.
std::int64_t days_from_civil(std::int64_t year, int month, int day);

// The three forms of RFC 9110, section 5.6.7. A two-digit year is read as that section says (never
// more than 50 years after `wall_ns`); without `wall_ns`, 69 to 99 mean 1969 to 1999. The day's
// name must be one, but is not compared with the date; the second form may shorten it, as some
// servers do. Second 60 counts as the next minute's 0.
std::optional<std::int64_t> parse_http_date_ns(std::string_view text,
                                               std::optional<std::int64_t> wall_ns = std::nullopt);

// "6m0s", "12ms", "1h2m3.5s", "250us", "1d", "0s": numbers with units d, h, m, s, ms, us, ns in
// falling order, a fraction allowed in each; "0" alone is 0. Digits below a nanosecond are cut off.
std::optional<std::int64_t> parse_duration_ns(std::string_view text);

// "2025-06-02T15:15:48Z", "2025-06-02 15:15:48.123+02:00"; "T" and "Z" in either case.
std::optional<std::int64_t> parse_rfc3339_ns(std::string_view text);

// A decimal number of seconds (or of milliseconds), without sign and exponent: "16", "0.5".
std::optional<std::int64_t> parse_seconds_ns(std::string_view text);
std::optional<std::int64_t> parse_milliseconds_ns(std::string_view text);

// How long to wait, from Retry-After-Ms and Retry-After; either may be empty (absent). A positive
// millisecond value wins, being the finer; otherwise Retry-After (seconds, a fraction allowed, or a
// date, which gives 0 when it is past); Azure sends `retry-after: 1` with `retry-after-ms: 0`.
// Numbers of more than ten years, or of more than the range has, are ten years.
std::optional<std::int64_t> retry_after_ns(std::string_view retry_after,
                                           std::string_view retry_after_ms, std::int64_t wall_ns);

// How a provider writes the moment at which a limit is full again; named so in registry.toml.
enum class ResetFormat : std::uint8_t {
  kDuration = 0,     // "duration": 6m0s
  kRfc3339 = 1,      // "rfc3339": 2025-06-02T15:15:48Z
  kUnixSeconds = 2,  // "unix_seconds": 1748877348
  kSecondsLeft = 3,  // "seconds_left": 16
};
std::optional<ResetFormat> reset_format(std::string_view name);

// The wait in nanoseconds from `wall_ns` until the reset; 0 when it is past.
std::optional<std::int64_t> reset_after_ns(std::string_view text, ResetFormat format,
                                           std::int64_t wall_ns);

}  // namespace sluiceway::parse
