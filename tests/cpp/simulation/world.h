// One seeded run of the whole engine: processes on one ledger file, callers, a provider, trouble.
//
// Model. Everything but the world around it is the real thing: engine, dispatcher, limits, breaker,
// ledger, SQLite. The world owns the clock (clock.h), the disk (disk.h) and the provider
// (provider.h), and gives one process after the other its turn; true time moves only between turns,
// to the next thing that is due. A crash is an exception thrown at a labelled point of the ledger
// (store/faults.h), at a step of the wire or between turns, or a process that dies in the middle of
// a write: its memory is never touched again (it is kept aside, so that no destructor does what a
// dead process cannot), and its locks and descriptors are gone. After the span of the plan the
// world heals, everything comes to rest, and a last process reads the books.
//
// The checks are in audit.cc: after every step the provider's bill against the limits, and so on;
// the books are replayed now and then and at the end. The first problems end the run.
//
// Bounds: tens of milliseconds and some megabytes a seed. Threads: one. The same seed gives the
// same RunResult::hash.
//
//   RunResult result = run_seed(42);
//   EXPECT_TRUE(result.problems.empty());
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "simulation/agenda.h"
#include "simulation/clock.h"
#include "simulation/disk.h"
#include "simulation/mutants.h"
#include "simulation/plan.h"
#include "simulation/provider.h"
#include "simulation/wire.h"

namespace sluiceway::simulation {

struct RunResult {
  std::uint64_t hash = 0;
  std::vector<std::string> problems;  // none: every invariant held
  std::string plan;
  std::uint64_t calls = 0, settled = 0, refused = 0, in_doubt = 0, lost = 0, executions = 0;
  std::uint64_t crashes = 0, power_cuts = 0, archives = 0, steps = 0;
  std::set<std::string> labels;  // of the ledger's fault points at which a process died
};

struct RunOptions {
  std::uint64_t seed = 0;
  Mutation mutation = Mutation::kNone;
  bool trace = false;      // says on stderr what happens
  bool bill_only = false;  // listens to the provider's bill alone (invariant 2)
};

RunResult run_seed(const RunOptions& options);
// The files that stand for paths; call it before the program ends.
void remove_scratch_folder();

struct Crash {};  // thrown where a process dies

// A call as its caller knows it.
struct Caller {
  Id call_id;
  std::string name;  // of the call id
  int process = 0, incarnation = 0;
  Order order;
  std::vector<std::size_t> scopes;
  std::string idempotency_key;
  bool cached = false;
  std::int64_t deadline_ns = 0;  // on its machine's clock
  std::shared_ptr<engine::Call> call;
  bool told = false, lost = false;  // lost: its process died, or was closed, before it was told
  engine::Ending ending;            // copied when told
  bool patient = false;             // waits for longer than anything can last
  int attempts = 0;                 // begun in all
  int attempts_open = 0;            // on the wire, as the client sees it
  std::uint64_t breaker_generation = 0;
  bool submitted_half_open = false;
};

// Money that was booked without a call. kUnknown: the ledger died, or its disk lost the answer.
struct OwnCost {
  Id id;
  Nanousd amount = 0;
  std::vector<std::size_t> scopes;
  bool forced = false, counted = false;
  enum : std::uint8_t { kUnknown, kBooked, kRefused } state = kUnknown;
};
struct Grant {
  std::size_t scope = 0;
  Nanousd amount = 0;
  bool certain = false;
};
struct Refund {
  Nanousd amount = 0;
  bool certain = false;
};

struct Process {
  int index = 0, incarnation = 0;
  bool up = false;
  std::string path;
  std::shared_ptr<engine::Engine> engine;
  SimWire* wire = nullptr;
  std::unique_ptr<SeededRandom> random;
  std::unique_ptr<SeededRandom> breaker_random;
  std::shared_ptr<engine::Route> route;
  std::vector<std::shared_ptr<store::Scope>> scopes;
  std::vector<std::size_t> callers;  // not told yet
  bool poked = false;
  std::string crash_label;  // and at which passage of it
  int crash_passage = 0;
  std::int64_t pumped_ns = 0;  // monotonic, of its last turn
  // Attempts by elapsed time, but for those that came back unsent.
  std::vector<std::pair<std::int64_t, std::string>> permits;
  int probes_open = 0;                                    // attempts that can only be probes
  int number() const { return incarnation * 8 + index; }  // as the disk knows it
};

class World {
 public:
  explicit World(const RunOptions& options);
  ~World();
  RunResult run();

 private:
  // world.cc
  void loop(std::int64_t until_true_ns, bool to_rest);
  std::int64_t next_ns() const;
  void step();
  bool wants_turn(const Process& process) const;

  // processes.cc
  void turn(Process& process);
  void guarded(Process& process, const std::function<void()>& what);
  void start(Process& process);
  void start_engine(Process& process);
  void open_scopes(Process& process);
  void kill(Process& process, const std::string& why);
  void close(Process& process);
  void restart_later(Process& process);
  std::shared_ptr<engine::Route> make_route(Process& process);

  // callers.cc
  void plan_callers();
  void arrive();
  void submit(Process& process, std::size_t index);
  void collect(Process& process);
  Order begun(int index, const std::string& attempt);
  void ended(int index, const std::string& attempt);

  // trouble.cc
  void plan_trouble();
  void crash_one();
  void disk_trouble();
  void clock_trouble();
  void power_cut();
  void raise_limit();
  void resolve_one();
  void fault_point(const char* label);

  // money.cc
  void plan_money();
  void book_one(Process& process);
  void grant_one(Process& process);
  void refund_one(Process& process);
  void archive();
  std::string archive_path() const { return folder_ + "/archive"; }

  // audit.cc
  void check_step();
  void count_bills();
  void check_told(const Caller& caller);
  void check_limits_bound();
  // audit_books.cc
  void check_books(store::Ledger& ledger, bool final_look);
  void read_books(store::Ledger& ledger, struct Books& books);
  void judge_call(const struct BookCall& call, const std::string& name, bool final_look);
  void judge_own_cost(const struct BookCall& call, const std::string& name);
  void add_to_sums(const struct BookCall& call, const std::string& name, Nanousd bill,
                   struct Books& books);
  void check_scopes(const struct Books& books, const std::vector<store::ScopeInfo>& rows);
  void check_grants(const struct Books& books);
  void check_end();
  void probe_recovery();

  void problem(const std::string& what);
  void trace(const std::string& what);
  void mix(std::uint64_t value);
  void mix(const std::string& text);
  std::int64_t draw(std::int64_t low, std::int64_t high) {
    return low + random_.uniform(high - low);
  }
  // Time-ordered, as the package's own, and unlike them the same in every run.
  Id next_id() {
    return Id{(static_cast<std::uint64_t>(kWallStart / kMs) << 16) | ids_++,
              options_.seed | (1ull << 63)};
  }
  bool chance(int percent) { return random_.uniform(99) < percent; }
  Process* any_up();

  // More turns than this at one instant, and something spins.
  static constexpr int kTurnsAtOnceMax = 2'000;

  const RunOptions options_;
  const Plan plan_;
  RunResult result_;
  SeededRandom random_;
  SimClock clock_;
  Agenda agenda_;
  Provider provider_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<Caller> callers_;
  std::map<std::string, std::size_t> caller_of_;  // by call id in text
  std::vector<Nanousd> limits_;                   // of the plan's scopes: the highest ever
  std::vector<Nanousd> maybe_limits_;             // the stored one, if a raise got lost
  std::vector<Nanousd> excess_;                   // explained by overruns, by scope
  std::map<std::string, Nanousd> executed_bill_;  // by call, as last seen
  std::vector<Nanousd> bills_;                    // by scope, without windows
  std::map<std::string, OwnCost> own_costs_;
  std::map<std::string, Grant> grants_;
  std::map<std::string, Refund> refunds_;  // by call
  std::uint64_t ids_ = 0;
  std::int64_t ledger_time_ns_ = 0;
  std::uint64_t books_seen_ = 0;
  std::string folder_;
  std::vector<std::shared_ptr<const store::CallLabels>> labels_;
  bool healed_ = false, planted_ = false;
  bool idle_ = false;   // for seconds, on a disk that is well
  bool aimed_ = false;  // a crash of this run was aimed at a label
  int running_ = -1;    // the process whose turn it is
};

}  // namespace sluiceway::simulation
