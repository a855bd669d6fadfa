// Reports over a ledger file: how long a million rows take.
//
// 500,000 settled calls (a reservation and a settlement each) of 40 label sets over 31 days, in two
// scopes, three usage buckets each, are written once; then they are reported by provider, model and
// day with latency quantiles. The answer is checked before it is timed. `report_1m_rows` is the row
// ledger.report_1m_s of the summary; `read_1m_rows` is the scan without the report.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/random.h"
#include "cost/admission.h"
#include "engine/report.h"

namespace sluiceway::engine {
namespace {

constexpr std::int64_t kCalls = 500'000;
constexpr std::int64_t kDays = 31;
constexpr std::int64_t kDayNs = 86'400 * kNsPerSecond;
constexpr std::int64_t kStart = 20'727 * kDayNs;  // 2026-10-01T00:00:00Z
constexpr std::int64_t kStep = kDays * kDayNs / kCalls;

struct AllAdmitted : store::VerdictSink {
  void on_verdicts(std::span<store::Verdict> verdicts) override {
    for (const store::Verdict& v : verdicts) {
      if (v.kind != store::Verdict::kAdmitted) abort();
    }
  }
};

// The file, written by the first that asks, removed at the end of the process.
class Million {
 public:
  Million() {
    std::string name = (std::filesystem::temp_directory_path() / "sluiceway-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) abort();
    folder_ = name;
    auto opened = store::open_ledger({.path = folder_ + "/ledger.db",
                                      .durability = store::Durability::kProcess,
                                      .admit = &cost::admit,
                                      .clock = &clock_,
                                      .threaded = false},
                                     &sink_);
    if (!opened.ok()) abort();
    ledger = *std::move(opened);
    write();
  }
  ~Million() {
    ledger->close();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::shared_ptr<store::Ledger> ledger;

 private:
  void write() {
    std::vector<std::shared_ptr<const store::CallLabels>> labels;
    for (int i = 0; i < 40; ++i) {
      const std::string number = std::to_string(i);
      labels.push_back(std::make_shared<store::CallLabels>(
          store::CallLabels{.provider = "provider-" + std::to_string(i % 5),
                            .model = "model-" + number,
                            .operation = "chat",
                            .tenant = "acme",
                            .account = "main"}));
    }
    const std::vector<std::shared_ptr<store::Scope>> scopes = {
        *ledger->open_scope({.kind = "video", .key = "42", .limit = kNanousdMax / 2}),
        *ledger->open_scope({.kind = "day", .limit = kNanousdMax / 2, .period = Period::kDay})};
    SeededRandom random(1);
    IdGenerator ids(random);
    for (std::int64_t i = 0; i < kCalls; ++i) {
      const Id id = ids.next(clock_.wall_ns());
      ledger->reserve({.token = static_cast<std::uint64_t>(i),
                       .call_id = id,
                       .intent_id = id,
                       .amount = 2'000,
                       .scopes = scopes,
                       .labels = labels[static_cast<std::size_t>(i % 40)],
                       .price_version = "provider/model@2026-10-01"});
      clock_.advance(kStep);
      pending_.push_back(id);
      if (pending_.size() == 512) settle();
    }
    settle();
  }

  void settle() {
    while (ledger->pump()) {
    }
    for (const Id& id : pending_) {
      const std::int64_t n = settled_++;
      Usage usage;
      usage.set(Bucket::kInput, n % 4'000);
      usage.set(Bucket::kCacheRead, n % 700);
      usage.set(Bucket::kOutput, n % 900);
      ledger->finish({.call_id = id,
                      .kind = store::EntryKind::kSettle,
                      .amount = n % 1'000,
                      .usage = usage,
                      .price_version = "provider/model@2026-10-01",
                      .provider_request_id = "req_0123456789abcdef",
                      .latency_ns = (n % 3'000 + 1) * kNsPerMs});
    }
    pending_.clear();
    if (!ledger->flush(60 * kNsPerSecond).ok()) abort();
  }

  std::string folder_;
  ManualClock clock_{kNsPerSecond, kStart};
  AllAdmitted sink_;
  std::vector<Id> pending_;
  std::int64_t settled_ = 0;
};

store::Ledger& million() {
  static Million made;
  return *made.ledger;
}

void report_1m_rows(benchmark::State& state) {
  store::Ledger& ledger = million();
  ReportQuery query;
  for (const char* name : {"provider", "model", "day"}) {
    query.by.push_back(*cost::group_by_from_name(name));
  }
  for (auto _ : state) {
    const StatusOr<Report> report = make_report(ledger, query);
    if (!report.ok()) abort();
    cost::CallTotals sum;
    std::uint64_t latencies = 0;
    for (const ReportGroup& group : report->groups) {
      sum.merge(group.totals);
      latencies += group.latency.count();
    }
    // 500 times the sum of 0 to 999.
    if (report->rows != 2 * kCalls || sum.settled != kCalls || sum.cost != 500 * 499'500 ||
        latencies != kCalls || report->groups.size() < 40 * kDays) {
      state.SkipWithError("the report is wrong");
      return;
    }
  }
}
BENCHMARK(report_1m_rows)->Unit(benchmark::kMillisecond)->UseRealTime();

void read_1m_rows(benchmark::State& state) {
  store::Ledger& ledger = million();
  for (auto _ : state) {
    std::int64_t rows = 0;
    const Status status = ledger.read_entries({}, [&](std::span<const store::Entry> batch) {
      rows += static_cast<std::int64_t>(batch.size());
      return true;
    });
    if (!status.ok() || rows != 2 * kCalls) {
      state.SkipWithError("the scan is wrong");
      return;
    }
  }
}
BENCHMARK(read_1m_rows)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace sluiceway::engine
