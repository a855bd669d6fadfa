// A process that makes calls through a ledger file and writes down what "the provider" executed,
// in memory shared with the test: the bill that the books are compared with.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "store/faults.h"
#include "store/store_testing.h"

namespace sluiceway::store {

constexpr std::size_t kWorkersMax = 4, kCallsMax = 4'096;

struct SharedBill {
  std::atomic<Nanousd> billed[kWorkersMax][kCallsMax];  // > 0: executed, at this price
  std::atomic<std::uint64_t> admitted[kWorkersMax];
  std::atomic<std::uint64_t> answered[kWorkersMax];
  std::atomic<int> ready;
  std::atomic<bool> go, stop;
  Nanousd total() const {
    Nanousd sum = 0;
    for (const auto& worker : billed) {
      for (const auto& call : worker) sum += call.load();
    }
    return sum;
  }
};

class BillMemory {
 public:
  BillMemory()
      : bill_(static_cast<SharedBill*>(::mmap(nullptr, sizeof(SharedBill), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~BillMemory() { ::munmap(bill_, sizeof(SharedBill)); }
  SharedBill* operator->() const { return bill_; }
  SharedBill& operator*() const { return *bill_; }

 private:
  SharedBill* bill_;  // zeros, shared with forked children
};

constexpr Nanousd kCeiling = 1'000;

// The price of a call, at most its ceiling: the same in the worker and in the test.
inline Nanousd price_of(std::uint64_t n) { return 500 + static_cast<Nanousd>(n * 37 % 501); }

struct WorkerPlan {
  std::string path;
  std::size_t worker = 0;
  std::uint64_t calls = 100, in_flight = 8;
  Nanousd limit = 1'000'000'000;
  Durability durability = Durability::kProcess;
  std::string kill_at;  // a label, and at which passage
  int kill_passage = 1;
  std::int64_t checkpoint_bytes = 64 << 10;
};

class Worker : public VerdictSink {
 public:
  Worker(const WorkerPlan& plan, SharedBill& bill) : plan_(plan), bill_(bill) {}

  // Never returns: exits with 0, or 1 where the ledger misbehaves.
  [[noreturn]] void run() {
    if (!plan_.kill_at.empty()) {
      set_fault_hook([this](const char* label) {
        if (plan_.kill_at == label && ++passed_ == plan_.kill_passage) ::kill(::getpid(), SIGKILL);
      });
    }
    auto ledger = open_ledger({.path = plan_.path,
                               .durability = plan_.durability,
                               .admit = &plain_admit,
                               .checkpoint_bytes = plan_.checkpoint_bytes,
                               .owner_scan_interval_ns = 20 * kNsPerMs},
                              this);
    if (!ledger.ok()) ::_exit(1);
    ledger_ = *ledger;
    auto scope = ledger_->open_scope({.kind = "day", .limit = plan_.limit});
    if (!scope.ok()) ::_exit(1);
    scope_ = *scope;
    bill_.ready.fetch_add(1);
    while (!bill_.go.load()) std::this_thread::yield();
    for (std::uint64_t i = 0; i < plan_.in_flight; ++i) one();
    while (bill_.answered[plan_.worker].load() < plan_.calls && !bill_.stop.load()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ledger_->close();
    ::_exit(0);
  }

  void on_verdicts(std::span<Verdict> verdicts) override {
    for (const Verdict& v : verdicts) {
      if (v.kind == Verdict::kAdmitted) {
        // From here on the provider has executed it, whatever becomes of us.
        bill_.billed[plan_.worker][v.token].store(price_of(v.token));
        bill_.admitted[plan_.worker].fetch_add(1);
        ledger_->finish({.call_id = make_id(v.token, plan_.worker),
                         .kind = EntryKind::kSettle,
                         .amount = price_of(v.token)});
      }
      bill_.answered[plan_.worker].fetch_add(1);
      one();
    }
  }

 private:
  void one() {
    if (next_ >= plan_.calls || bill_.stop.load()) return;
    const std::uint64_t n = next_++;
    ledger_->reserve({.token = n,
                      .call_id = make_id(n, plan_.worker),
                      .intent_id = make_id(n, plan_.worker + 100),
                      .amount = kCeiling,
                      .scopes = {scope_},
                      .labels = plain_labels()});
  }
  const WorkerPlan plan_;
  SharedBill& bill_;
  std::shared_ptr<Ledger> ledger_;
  std::shared_ptr<Scope> scope_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<int> passed_{0};
};

inline pid_t start_worker(const WorkerPlan& plan, SharedBill& bill) {
  const pid_t pid = ::fork();
  if (pid == 0) (new Worker(plan, bill))->run();
  return pid;
}

// The raw wait status.
inline int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Opens the file as the next start would, and compares the books with the bill.
inline void expect_books_match(const std::string& path, const SharedBill& bill, Nanousd limit) {
  KeepingSink sink;
  auto ledger =
      open_ledger({.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  auto report = (*ledger)->verify();
  ASSERT_TRUE(report.ok()) << report.status();
  for (const auto& p : report->problems) ADD_FAILURE() << p;
  for (const auto& p : report->over_limit) ADD_FAILURE() << p;
  EXPECT_EQ(report->open, 0) << "the dead left open holds";
  EXPECT_EQ((*ledger)->live_engines(), 1);
  EXPECT_LE(bill.total(), limit);
  struct Seen {
    bool reserved = false, settled = false, in_doubt = false, voided = false;
    Nanousd amount = 0;
  };
  std::map<Id, Seen> seen;
  ASSERT_TRUE((*ledger)
                  ->read_entries({},
                                 [&](std::span<const Entry> rows) {
                                   for (const Entry& e : rows) {
                                     Seen& s = seen[e.call_id];
                                     s.reserved |= e.kind == EntryKind::kReserve;
                                     s.in_doubt |= e.kind == EntryKind::kInDoubt;
                                     s.voided |= e.kind == EntryKind::kVoid;
                                     s.settled |= e.kind == EntryKind::kSettle;
                                     if (e.kind == EntryKind::kSettle) s.amount = e.amount;
                                   }
                                   return true;
                                 })
                  .ok());
  for (std::size_t w = 0; w < kWorkersMax; ++w) {
    for (std::uint64_t n = 0; n < kCallsMax; ++n) {
      const Nanousd billed = bill.billed[w][n].load();
      const auto it = seen.find(make_id(n, w));
      if (billed > 0) {
        ASSERT_TRUE(it != seen.end() && it->second.reserved) << "lost: worker " << w << " " << n;
        EXPECT_FALSE(it->second.voided);
      }
      if (it == seen.end()) continue;
      if (it->second.settled) {
        EXPECT_EQ(it->second.amount, billed);
      } else if (it->second.in_doubt) {
        EXPECT_LE(billed, kCeiling);
      }
    }
  }
  (*ledger)->close();
}

}  // namespace sluiceway::store
