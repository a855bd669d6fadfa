// The whole engine in seeded simulations: see world.h for the model, docs/internals/proofs.md for
// what it proves.
//
//   SLUICEWAY_SIM_SEEDS   how many seeds Simulation.KeepsEveryInvariant runs (default 20)
//   SLUICEWAY_SIM_BASE    the first of them (default: drawn, and printed)
//   SLUICEWAY_SIM_SHARD   "i/n": only the seeds that are i modulo n
//   SLUICEWAY_SIM_SEED    one seed alone, in this process, telling what happens
//
// Chunks of seeds run in processes of their own, which frees what simulated crashes leave behind
// and keeps a crash of the program itself from ending the other chunks.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <sstream>
#include <string>

#include "simulation/world.h"
#include "store/faults.h"

namespace sluiceway::simulation {
namespace {

constexpr std::uint64_t kChunk = 25;
constexpr std::uint64_t kMutationSeeds = 500;

std::string setting(const char* name, const std::string& otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? text : otherwise;
}

std::uint64_t base_seed() {
  static const std::uint64_t base = std::stoull(
      setting("SLUICEWAY_SIM_BASE", std::to_string(std::random_device{}() % 1'000'000'000u)));
  return base;
}

std::string how_to_replay(std::uint64_t seed) {
  return "SLUICEWAY_SIM_SEED=" + std::to_string(seed) +
         " simulation_test --gtest_filter=Simulation.OneSeed";
}

// Runs `what` in a child; what it printed to the given pipe, and false where the child died.
bool in_child(const std::function<std::string()>& what, std::string& out) {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return false;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe_ends[0]);
    const std::string text = what();
    std::size_t at = 0;
    while (at < text.size()) {
      const ssize_t done = ::write(pipe_ends[1], text.data() + at, text.size() - at);
      if (done <= 0) break;
      at += static_cast<std::size_t>(done);
    }
    remove_scratch_folder();
    ::_exit(0);
  }
  ::close(pipe_ends[1]);
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(pipe_ends[0], buffer, sizeof buffer)) > 0) {
    out.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// What a chunk of seeds came to, as text through a pipe: figures, labels, problems.
struct Sum {
  unsigned long long calls = 0, executions = 0, refused = 0, in_doubt = 0, crashes = 0, cuts = 0,
                     archives = 0;
  std::set<std::string> labels;
  std::string problems;
};

void name_this_process(std::uint64_t seed) {  // for a look at a run that is stuck
  std::FILE* file = std::fopen("/proc/self/comm", "w");
  if (file == nullptr) return;
  std::fprintf(file, "sim %llu", static_cast<unsigned long long>(seed));
  std::fclose(file);
}

std::string run_chunk(std::uint64_t from, std::uint64_t until) {
  Sum sum;
  for (std::uint64_t seed = from; seed < until; ++seed) {
    name_this_process(seed);
    const RunResult result = run_seed({.seed = seed});
    sum.calls += result.calls;
    sum.executions += result.executions;
    sum.refused += result.refused;
    sum.in_doubt += result.in_doubt;
    sum.crashes += result.crashes;
    sum.cuts += result.power_cuts;
    sum.archives += result.archives;
    sum.labels.insert(result.labels.begin(), result.labels.end());
    for (const auto& problem : result.problems) {
      sum.problems += "seed " + std::to_string(seed) + ": " + problem +
                      "\n  replay: " + how_to_replay(seed) + "\n  plan: " + result.plan + "\n";
    }
  }
  std::string text;
  for (const auto figure : {sum.calls, sum.executions, sum.refused, sum.in_doubt, sum.crashes,
                            sum.cuts, sum.archives}) {
    text += std::to_string(figure) + " ";
  }
  for (const auto& label : sum.labels) text += label + " ";
  return text + "\n" + sum.problems;
}

void add_chunk(const std::string& text, Sum& sum) {
  std::istringstream in(text);
  std::string line, label;
  std::getline(in, line);
  std::istringstream figures(line);
  for (auto* into : {&sum.calls, &sum.executions, &sum.refused, &sum.in_doubt, &sum.crashes,
                     &sum.cuts, &sum.archives}) {
    unsigned long long figure = 0;
    figures >> figure;
    *into += figure;
  }
  while (figures >> label) sum.labels.insert(label);
  while (std::getline(in, line)) sum.problems += line + "\n";
}

TEST(Simulation, KeepsEveryInvariant) {
  const std::uint64_t count = std::stoull(setting("SLUICEWAY_SIM_SEEDS", "20"));
  const std::string shard = setting("SLUICEWAY_SIM_SHARD", "0/1");
  const std::uint64_t mine = std::stoull(shard);
  const std::uint64_t of = std::stoull(shard.substr(shard.find('/') + 1));
  const std::uint64_t base = base_seed();
  std::printf("seeds %llu to %llu, shard %s\n", static_cast<unsigned long long>(base),
              static_cast<unsigned long long>(base + count - 1), shard.c_str());
  const auto begun = std::chrono::steady_clock::now();
  Sum sum;
  for (std::uint64_t from = 0; from < count && sum.problems.empty(); from += kChunk) {
    if (from / kChunk % of != mine) continue;
    const std::uint64_t until = std::min(count, from + kChunk);
    std::string out;
    EXPECT_TRUE(in_child([&] { return run_chunk(base + from, base + until); }, out))
        << "the program died in the seeds " << base + from << " to " << base + until - 1;
    add_chunk(out, sum);
  }
  EXPECT_EQ(sum.problems, "");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::printf(
      "%llu calls, %llu executions, %llu refused by budgets, %llu in doubt,"
      " %llu crashes at %zu labels, %llu power cuts, %llu archives in %.1f s\n",
      sum.calls, sum.executions, sum.refused, sum.in_doubt, sum.crashes, sum.labels.size(),
      sum.cuts, sum.archives, took.count());
  if (count < 500) return;
  std::set<std::string> wanted(store::kFaultLabels.begin(), store::kFaultLabels.end());
  wanted.insert({"book.before_commit", "book.after_commit", "wire.start"});
  for (const auto& label : wanted) {
    if (sum.labels.contains(label)) continue;
    std::printf("no process died at %s\n", label.c_str());
    // The seeds are shared out: scripts/simulation.sh looks at all shards together.
    EXPECT_GT(of, 1u) << "no process died at " << label;
  }
}

TEST(Simulation, OneSeed) {
  const std::string seed = setting("SLUICEWAY_SIM_SEED", "");
  if (seed.empty()) GTEST_SKIP() << "set SLUICEWAY_SIM_SEED to replay one seed";
  const RunResult result = run_seed({.seed = std::stoull(seed), .trace = true});
  for (const auto& problem : result.problems) ADD_FAILURE() << problem;
  remove_scratch_folder();
}

TEST(Simulation, TheSameSeedIsTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    std::string hashes[2];
    for (std::string& hash : hashes) {
      ASSERT_TRUE(in_child([&] { return std::to_string(run_seed({.seed = seed}).hash); }, hash));
    }
    EXPECT_EQ(hashes[0], hashes[1]) << "seed " << seed;
    EXPECT_NE(hashes[0], "0");
  }
}

// The first seed at which a planted bug shows, and how; empty: it does not.
std::string first_catch(Mutation mutation, bool bill_only) {
  for (std::uint64_t from = 1; from <= kMutationSeeds; from += kChunk) {
    std::string out;
    in_child(
        [&] {
          for (std::uint64_t seed = from; seed < from + kChunk; ++seed) {
            const RunResult result =
                run_seed({.seed = seed, .mutation = mutation, .bill_only = bill_only});
            if (result.problems.empty()) continue;
            return "seed " + std::to_string(seed) + ": " + result.problems.front();
          }
          return std::string();
        },
        out);
    if (!out.empty()) return out;
  }
  return "";
}

class Planted : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Mutations, Planted, ::testing::Range(1, kMutations));

TEST_P(Planted, IsCaught) {
  const auto mutation = static_cast<Mutation>(GetParam());
  const std::string name(mutation_name(mutation));
  const std::string caught = first_catch(mutation, false);
  EXPECT_NE(caught, "") << name << " was not caught in " << kMutationSeeds << " seeds";
  std::printf("%s: %s\n", name.c_str(), caught.c_str());
}

// The two that other gateways have had: with them the provider really bills more than the limit.
TEST(PlantedBugs, TheProvidersBillPassesTheLimit) {
  for (const Mutation mutation : {Mutation::kRefundOnExpiry, Mutation::kCheckThenRecord}) {
    const std::string caught = first_catch(mutation, true);
    const std::string name(mutation_name(mutation));
    EXPECT_NE(caught, "") << name << " never overspent in " << kMutationSeeds << " seeds";
    std::printf("%s: %s\n", name.c_str(), caught.c_str());
  }
}

}  // namespace
}  // namespace sluiceway::simulation
