// Reports over ledgers in memory and in a file: every expected figure is worked out by hand.
#include "engine/report.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <initializer_list>
#include <string>

#include "cost/admission.h"
#include "engine/call_fold.h"

namespace sluiceway::engine {
namespace {

using store::EntryKind;
constexpr std::int64_t kDay = 86'400 * kNsPerSecond;
constexpr std::int64_t kHour = 3'600 * kNsPerSecond;
// 2026-10-31T22:00:00Z: 20,757 days after 1970-01-01, and 22 hours.
constexpr std::int64_t kStart = 20'757 * kDay + 22 * kHour;

struct NoSink : store::VerdictSink {
  void on_verdicts(std::span<store::Verdict> verdicts) override {
    for (const store::Verdict& v : verdicts) EXPECT_EQ(v.kind, store::Verdict::kAdmitted);
  }
};

// A ledger that writes when it is told to, on a clock that stands still.
class BooksByHand {
 public:
  explicit BooksByHand(const std::string& path = ":memory:") {
    auto opened = store::open_ledger({.path = path,
                                      .durability = store::Durability::kProcess,
                                      .admit = &cost::admit,
                                      .clock = &clock,
                                      .threaded = false},
                                     &sink_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    ledger = *std::move(opened);
  }
  ~BooksByHand() { ledger->close(); }

  std::shared_ptr<store::Scope> scope(const std::string& kind, const std::string& key,
                                      Period period = Period::kNone) {
    return *ledger->open_scope({.kind = kind, .key = key, .period = period});
  }
  Id reserve(std::int64_t amount, const store::CallLabels& labels,
             std::vector<std::shared_ptr<store::Scope>> scopes = {}) {
    const Id id{0x1000, next_++};
    ledger->reserve({.token = next_,
                     .call_id = id,
                     .amount = amount,
                     .scopes = std::move(scopes),
                     .labels = std::make_shared<store::CallLabels>(labels)});
    ledger->pump();
    return id;
  }
  void finish(const Id& id, EntryKind kind, std::int64_t amount = 0, std::int64_t latency_ns = 0,
              const Usage& usage = {}, bool estimated = false) {
    ledger->finish({.call_id = id,
                    .kind = kind,
                    .amount = amount,
                    .usage = usage,
                    .latency_ns = latency_ns,
                    .estimated = estimated});
    ASSERT_TRUE(ledger->flush(kNsPerSecond).ok());
  }
  Report report(std::initializer_list<std::string_view> names, ReportQuery query = {}) {
    for (const std::string_view name : names) query.by.push_back(*cost::group_by_from_name(name));
    auto made = make_report(*ledger, query);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *std::move(made) : Report{};
  }

  ManualClock clock{kNsPerSecond, kStart};
  std::shared_ptr<store::Ledger> ledger;

 private:
  NoSink sink_;
  std::uint64_t next_ = 1;
};

const store::CallLabels kLuna{.provider = "openai",
                              .model = "luna",
                              .operation = "chat",
                              .tenant = "acme",
                              .account = "main",
                              .tags = "job=7,team=films"};
const store::CallLabels kHaiku{.provider = "anthropic", .model = "haiku", .tenant = "acme"};

using Key = std::vector<std::string>;

TEST(Report, ACallCountsOnceAtItsLastWord) {
  BooksByHand books;
  Usage usage;
  usage.set(Bucket::kInput, 30);
  const Id settled = books.reserve(900, kLuna);
  books.finish(settled, EntryKind::kShrink, 800);
  books.finish(settled, EntryKind::kSettle, 500, 20'000'000, usage);
  const Id voided = books.reserve(900, kLuna);
  books.finish(voided, EntryKind::kVoid);
  const Id doubted = books.reserve(70, kLuna);
  books.finish(doubted, EntryKind::kInDoubt);
  const Id resolved = books.reserve(90, kLuna);
  books.finish(resolved, EntryKind::kInDoubt);
  ASSERT_TRUE(books.ledger->resolve(resolved, 40, "invoice 7").ok());
  books.reserve(11, kLuna);  // still open

  const Report report = books.report({});
  ASSERT_EQ(report.groups.size(), 1u);
  EXPECT_EQ(report.groups[0].key, Key{"nanousd"});
  const cost::CallTotals& sum = report.groups[0].totals;
  EXPECT_EQ(sum.calls, 5);
  EXPECT_EQ(sum.settled, 2);
  EXPECT_EQ(sum.voided, 1);
  EXPECT_EQ(sum.in_doubt, 1);
  EXPECT_EQ(sum.open, 1);
  EXPECT_TRUE(sum.cost == 540);
  EXPECT_TRUE(sum.held_in_doubt == 70);
  EXPECT_TRUE(sum.held_open == 11);
  EXPECT_EQ(sum.units[0], 30);
  EXPECT_EQ(report.groups[0].latency.count(), 1u);  // the resolved one's is not known
  EXPECT_EQ(report.rows, 5 + 1 + 2 + 1 + 1 + 1);    // reserves, shrink, settles, void, doubts
}

TEST(Report, PostedThenCorrected) {
  BooksByHand books;
  const Id call = books.reserve(1'000, kLuna);
  books.finish(call, EntryKind::kInDoubt);
  books.clock.advance(8 * kDay);
  ASSERT_EQ(*books.ledger->post_in_doubt(7 * kDay), 1);
  EXPECT_TRUE(books.report({}).groups[0].totals.cost == 1'000);
  ASSERT_TRUE(books.ledger->resolve(call, 400, "invoice").ok());
  ASSERT_TRUE(books.ledger->resolve(call, 350, "invoice, again").ok());
  const Report report = books.report({"month", "service_month"});
  ASSERT_EQ(report.groups.size(), 1u);
  EXPECT_EQ(report.groups[0].key, (Key{"2026-11", "2026-10", "nanousd"}));
  EXPECT_TRUE(report.groups[0].totals.cost == 350);
  EXPECT_EQ(report.groups[0].totals.posted, 1);
  EXPECT_EQ(report.groups[0].totals.calls, 1);
}

// Reserved at 22:00 and ended at 23:30 UTC of October's last day, which is November in Berlin; and
// once more a day later.
TEST(Report, PeriodsFollowTheZone) {
  BooksByHand books;
  const Id first = books.reserve(10, kLuna);
  books.clock.advance(kHour + kHour / 2);
  books.finish(first, EntryKind::kSettle, 1);
  books.clock.advance(kDay);
  const Id second = books.reserve(10, kHaiku);
  books.finish(second, EntryKind::kSettle, 2);

  const Report utc = books.report({"day", "service_month"});
  ASSERT_EQ(utc.groups.size(), 2u);
  EXPECT_EQ(utc.groups[0].key, (Key{"2026-10-31", "2026-10", "nanousd"}));
  EXPECT_EQ(utc.groups[1].key, (Key{"2026-11-01", "2026-11", "nanousd"}));

  const Report berlin = books.report({"hour", "month", "service_month"},  // one hour ahead of UTC
                                     {.time_zone = "Europe/Berlin"});
  ASSERT_EQ(berlin.groups.size(), 2u);
  EXPECT_EQ(berlin.groups[0].key, (Key{"2026-11-01T00", "2026-11", "2026-10", "nanousd"}));
  EXPECT_EQ(berlin.groups[1].key, (Key{"2026-11-02T00", "2026-11", "2026-11", "nanousd"}));

  const Report bounded =
      books.report({}, {.from_ns = kStart + kHour, .to_ns = kStart + kHour + kHour / 2 + 1});
  ASSERT_EQ(bounded.groups.size(), 1u);
  EXPECT_TRUE(bounded.groups[0].totals.cost == 1);  // [from, to): its end lies in it
  EXPECT_TRUE(books.report({}, {.to_ns = kStart + kHour + kHour / 2}).groups.empty());
}

TEST(Report, OnlyAScopeOrALabel) {
  BooksByHand books;
  const auto video = books.scope("video", "42");
  const auto other = books.scope("video", "421");
  const auto day = books.scope("account", "7", Period::kDay);
  books.finish(books.reserve(10, kLuna, {video, day}), EntryKind::kSettle, 1);
  books.finish(books.reserve(10, kLuna, {other, day}), EntryKind::kSettle, 20);
  books.finish(books.reserve(10, kHaiku), EntryKind::kSettle, 300);
  const auto cost_in = [&](const std::string& scope) {
    const Report report = books.report({}, {.scope = scope});
    return report.groups.empty() ? -1 : static_cast<int>(report.groups[0].totals.cost);
  };
  EXPECT_EQ(cost_in(""), 321);
  EXPECT_EQ(cost_in("video:42"), 1);
  EXPECT_EQ(cost_in("video"), 21);
  EXPECT_EQ(cost_in("account:7"), 21);
  EXPECT_EQ(cost_in("account:7@2026-10-31"), 21);
  EXPECT_EQ(cost_in("account:7@2026-11-01"), -1);
  EXPECT_EQ(cost_in("vid"), -1);

  const auto cost_where = [&](std::string_view name, const std::string& value) {
    const Report report = books.report({}, {.where = {{*cost::group_by_from_name(name), value}}});
    return report.groups.empty() ? -1 : static_cast<int>(report.groups[0].totals.cost);
  };
  EXPECT_EQ(cost_where("provider", "anthropic"), 300);
  EXPECT_EQ(cost_where("tag:team", "films"), 21);
  EXPECT_EQ(cost_where("tag:team", "film"), -1);
  EXPECT_EQ(cost_where("tags", "job=7,team=films"), 21);
  EXPECT_FALSE(make_report(*books.ledger, {.where = {{{cost::Dimension::kDay, {}}, "x"}}}).ok());
  EXPECT_FALSE(make_report(*books.ledger, {.time_zone = "Mars/Olympus"}).ok());
}

TEST(Report, TooManyGroupsAreRefused) {
  BooksByHand books;
  for (const char* model : {"a", "b", "c"}) books.reserve(1, {.model = model});
  ReportQuery query{.by = {{cost::Dimension::kModel, {}}}, .groups_max = 2};
  const auto refused = make_report(*books.ledger, query);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  query.groups_max = 3;
  EXPECT_EQ(make_report(*books.ledger, query)->groups.size(), 3u);
}

TEST(Report, ScopeNames) {
  EXPECT_TRUE(scope_matches("video:42", "video:42"));
  EXPECT_TRUE(scope_matches("video:42@2026-11", "video:42"));
  EXPECT_TRUE(scope_matches("day:2026-11-22", "day"));
  EXPECT_FALSE(scope_matches("video:42:x", "video:42"));
  EXPECT_FALSE(scope_matches("video:421", "video:42"));
  EXPECT_FALSE(scope_matches("video:4", "video:42"));
}

// 3,000 calls in a file: their rows cross the batches in which a file is read.
TEST(Report, OverAFile) {
  std::string folder =
      (std::filesystem::temp_directory_path() / "sluiceway-report-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  {
    BooksByHand books(folder + "/ledger.db");
    for (int i = 0; i < 3'000; ++i) {
      const Id id = books.reserve(10, i % 3 == 0 ? kLuna : kHaiku);
      books.ledger->finish({.call_id = id,
                            .kind = EntryKind::kSettle,
                            .amount = i % 3 + 1,
                            .latency_ns = (i + 1) * 1'000'000LL});
    }
    ASSERT_TRUE(books.ledger->flush(kNsPerSecond).ok());
    const Report report = books.report({"provider"});
    EXPECT_EQ(report.rows, 6'000);
    ASSERT_EQ(report.groups.size(), 2u);
    EXPECT_EQ(report.groups[0].key, (Key{"anthropic", "nanousd"}));
    EXPECT_TRUE(report.groups[0].totals.cost == 1'000 * 2 + 1'000 * 3);
    EXPECT_EQ(report.groups[1].totals.settled, 1'000);
    EXPECT_TRUE(report.groups[1].totals.cost == 1'000);
    // Luna's latencies are 1, 4, ... 2,998 ms: the median, by rank 499, is 1,498 ms.
    const auto median = *report.groups[1].latency.quantile(0.5);
    EXPECT_NEAR(static_cast<double>(median), 1.498e9, 1.498e7);
  }
  std::filesystem::remove_all(folder);
}

// Rows of one call in every order among themselves say the same.
TEST(CallFold, TheOrderOfRowsDoesNotMatter) {
  const auto row = [](EntryKind kind, std::int32_t attempt, std::int64_t time_ns, Nanousd amount) {
    store::Entry out;
    out.call_id = Id{1, 2};
    out.attempt = attempt;
    out.kind = kind;
    out.time_ns = time_ns;
    out.amount = amount;
    return out;
  };
  std::vector<store::Entry> rows = {
      row(EntryKind::kReserve, 0, 1, 100), row(EntryKind::kShrink, 1, 2, 80),
      row(EntryKind::kInDoubt, 1, 3, 80),  row(EntryKind::kPostFull, 0, 4, 80),
      row(EntryKind::kCorrect, 1, 5, -30), row(EntryKind::kRefund, 0, 6, 20)};
  std::vector<std::size_t> order = {0, 1, 2, 3, 4, 5};
  do {
    CallFold fold;
    for (const std::size_t i : order) fold.add(rows[i]);
    const FoldedCall& call = fold.call();
    ASSERT_TRUE(call.reserved);
    ASSERT_EQ(call.state, cost::CallState::kSettled);
    ASSERT_EQ(call.cost, 30);
    ASSERT_EQ(call.refunds, 20);
    ASSERT_EQ(call.hold, 80);
    ASSERT_EQ(call.reserved_ns, 1);
    ASSERT_EQ(call.booked_ns, 4);
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace sluiceway::engine
