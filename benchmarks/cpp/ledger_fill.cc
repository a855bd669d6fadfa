// Fills a ledger file, so that a run can begin with a million rows in the month.
//
// Half as many calls as rows, a reservation and a settlement each, with ids as the product makes
// them (the time in front, so that a row lands near the last ones) and the clock's own month, in
// commits of 256 calls. All calls are settled: the next process finds nothing in doubt. Some
// 200,000 rows a second; 200 B of disk a row.
//
// Usage: ledger_fill PATH ROWS, example
//   ledger_fill build/bench/million.db 1000000
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "store_loops.h"

namespace sluiceway::store {
namespace {

constexpr std::size_t kBatch = 256;

// False where the books do not hold what was written.
bool fill(const char* path, std::uint64_t calls_least) {
  SeededRandom random(1);
  IdGenerator generator(random);
  OurLoop loop(path, kBatch, Durability::kProcess);
  std::vector<Id> before, fresh;
  std::uint64_t calls = 0;
  while (calls < calls_least) {
    fresh_ids(generator, kBatch, fresh);
    loop.batch(before, fresh);
    before.swap(fresh);
    calls += kBatch;
  }
  loop.batch(before, {});
  const bool right = loop.admitted() == calls && loop.ledger().balance(loop.scope())->settled ==
                                                     static_cast<Nanousd>(calls) * 900;
  loop.ledger().close();
  return right;
}

}  // namespace
}  // namespace sluiceway::store

int main(int argc, char** argv) {
  const long rows = argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0;
  if (rows < 2) {
    std::fprintf(stderr, "usage: ledger_fill PATH ROWS\n");
    return 2;
  }
  if (!sluiceway::store::fill(argv[1], static_cast<std::uint64_t>(rows) / 2)) {
    std::fprintf(stderr, "ledger_fill: the books are wrong\n");
    return 1;
  }
}
