// Pricing answers: see pricing.h.
#include "engine/pricing.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "cost/price_book.h"

namespace sluiceway::engine {
namespace {

// A provider's own clock is believed (for the tariff of the hour) only near ours.
constexpr std::int64_t kCreatedSkewMaxNs = 3600 * kNsPerSecond;
constexpr std::size_t kBytesPerToken = 4;

constexpr std::uint32_t bit(Bucket bucket) { return 1u << static_cast<unsigned>(bucket); }
// What a whole call can be measured by in place of tokens. Searches and requests come beside them.
constexpr std::uint32_t kMeasures = bit(Bucket::kCharacters) | bit(Bucket::kImages) |
                                    bit(Bucket::kMegapixels) | bit(Bucket::kSeconds) |
                                    bit(Bucket::kCredits) | bit(Bucket::kQuotaUnits);

struct Priced {
  Nanousd cost = 0;
  std::string_view version;
};

// By the table; nothing without a row or a rate.
std::optional<Priced> by_table(const Route& route, const Span& span, const Answer& answer,
                               const Usage& usage) {
  if (!route.sheet) return std::nullopt;
  std::int64_t from_ns = span.sent_wall_ns;
  std::int64_t to_ns = span.ended_wall_ns;
  const std::int64_t created_ns =
      answer.created_s > INT64_MAX / kNsPerSecond ? 0 : answer.created_s * kNsPerSecond;
  if (created_ns > 0 && std::abs(created_ns - span.sent_wall_ns) <= kCreatedSkewMaxNs) {
    from_ns = std::min(from_ns, created_ns);
    to_ns = std::max(to_ns, created_ns);
  }
  // The tier that served counts, not the one that was asked for.
  const std::string_view tier = answer.served_tier ? *answer.served_tier : route.service_tier;
  const cost::Selector selector{tier, route.plan, route.size, route.quality};
  const auto dearest = cost::dearest_within(*route.sheet, from_ns, to_ns, usage, selector);
  if (!dearest) return std::nullopt;
  return Priced{dearest->cost, dearest->row->version};
}

std::int64_t about(std::size_t bytes) {
  return static_cast<std::int64_t>((bytes + kBytesPerToken - 1) / kBytesPerToken);
}

}  // namespace

bool price_answer(const Route& route, const Span& span, Answer& answer) {
  const Usage& usage = answer.usage;
  if (usage.reported_cost_nanousd >= 0) {
    answer.cost = usage.reported_cost_nanousd;
    answer.cost_source = CostSource::kProvider;
    return true;
  }
  if (!route.dialect || !usage.any() || answer.usage_beyond) return false;
  // Absent is not zero: a body without its input or output count has no known price, unless it is
  // measured otherwise (a transcription by its seconds).
  const bool other_measure = (usage.present & kMeasures) != 0;
  for (const auto& expression : route.dialect->usage) {
    if (other_measure) break;
    const bool needed = expression.bucket == Bucket::kInput || expression.bucket == Bucket::kOutput;
    if (needed && !usage.has(expression.bucket)) return false;
  }
  const auto priced = by_table(route, span, answer, usage);
  if (!priced) return false;
  answer.cost = priced->cost;
  // What we counted ourselves before sending is no word of the provider's.
  answer.cost_source = route.dialect->counts_before() ? CostSource::kEstimated : CostSource::kTable;
  answer.price_version = priced->version;
  return true;
}

void estimate_answer(const Route& route, const Span& span, std::size_t sent_bytes, Answer& answer) {
  if (answer.usage.reported_cost_nanousd >= 0) {
    answer.cost = answer.usage.reported_cost_nanousd;
    answer.cost_source = CostSource::kEstimated;
    return;
  }
  const std::size_t delivered = answer.text.size() + answer.reasoning_text.size();
  if (!route.dialect || (delivered == 0 && !answer.usage.any())) return;
  Usage usage = answer.usage;
  if (!usage.has(Bucket::kInput)) usage.set(Bucket::kInput, about(sent_bytes));
  // A count from the beginning of a stream is far below what was delivered since.
  const std::int64_t rest = about(delivered) - usage.get(Bucket::kReasoning);
  if (usage.get(Bucket::kOutput) < rest) usage.set(Bucket::kOutput, rest);
  const auto priced = by_table(route, span, answer, usage);
  if (!priced) return;
  answer.cost = priced->cost;
  answer.cost_source = CostSource::kEstimated;
  answer.price_version = priced->version;
}

}  // namespace sluiceway::engine
