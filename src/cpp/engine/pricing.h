// What an answer costs: the provider's own figure, else the table's, else an estimate for people.
//
// Model. A figure that the provider reports wins over the table. The table needs the counts of the
// dialect's input and output (absent is not zero), the row of the tier that really served, and a
// rate for every bucket that was used. A request that was under way while the tariff changed costs
// what the dearest of its instants says: which of them counts is not published. Where one of them
// is missing the cost is not known, and the books keep the ceiling. Then an estimate stands in the
// result, marked as one: what was reported, and a token for each four bytes of what was sent and
// delivered. It never reaches a balance.
//
// Bounds: linear in a sheet's rows. Threads: pure functions. Times: Unix nanoseconds.
// Source: docs/internals/money.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/answer.h"
#include "engine/route.h"

namespace sluiceway::engine {

// When a request was under way by our clock. The provider's own time of it is believed near that.
struct Span {
  std::int64_t sent_wall_ns = 0;
  std::int64_t ended_wall_ns = 0;
};

// Fills cost, source and price version of the answer. False: the cost cannot be known.
bool price_answer(const Route& route, const Span& span, Answer& answer);

// Fills cost and source (kEstimated) from what is known so far; leaves them where that is nothing.
void estimate_answer(const Route& route, const Span& span, std::size_t sent_bytes, Answer& answer);

}  // namespace sluiceway::engine
