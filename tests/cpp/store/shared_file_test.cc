// Two engines of one process on one file, and what opening refuses.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

LedgerOptions options_for(const std::string& path) {
  return {.path = path, .durability = Durability::kProcess, .admit = &plain_admit};
}

TEST(SharedFile, TwoEnginesOfOneProcessShareTheWriter) {
  ScratchDirectory directory;
  KeepingSink first_sink, second_sink;
  auto first = open_ledger(options_for(directory.file()), &first_sink);
  auto second = open_ledger(options_for(directory.file("./ledger.db")), &second_sink);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE((*first)->owner(), (*second)->owner());
  EXPECT_EQ((*second)->live_engines(), 2);
  auto scope = (*first)->open_scope({.kind = "video", .key = "1", .limit = 100});
  auto same = (*second)->open_scope({.kind = "video", .key = "1", .limit = 100});
  (*first)->reserve({.token = 1, .call_id = make_id(1), .amount = 60, .scopes = {*scope}});
  EXPECT_EQ(first_sink.wait(1).kind, Verdict::kAdmitted);
  (*second)->reserve({.token = 1, .call_id = make_id(2), .amount = 60, .scopes = {*same}});
  EXPECT_EQ(second_sink.wait(1).kind, Verdict::kExceeded);
  (*first)->close();  // leaves its call in doubt, and the other one alive
  (*second)->reserve({.token = 2, .call_id = make_id(3), .amount = 40, .scopes = {*same}});
  EXPECT_EQ(second_sink.wait(2).kind, Verdict::kAdmitted);
  auto balance = (*second)->balance(**same);
  EXPECT_EQ(balance->in_doubt, 60);
  EXPECT_EQ(balance->held, 40);
  (*second)->close();
}

// Another process opens the file by a link, after a backup here has read and closed the lock file:
// whoever takes us for dead would put our running call in doubt.
TEST(SharedFile, TheLivingStayAliveByWhateverNameAndWhateverIsClosed) {
  ScratchDirectory directory;
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(go[1]);  // an end of file is a parent that failed
    char word = 0;
    if (::read(go[0], &word, 1) != 1) ::_exit(2);
    KeepingSink sink;
    auto ledger = open_ledger(options_for(directory.file("link.db")), &sink);
    if (!ledger.ok()) ::_exit(3);
    auto scope = (*ledger)->open_scope({.kind = "video", .key = "1", .limit = 100});
    const auto balance = (*ledger)->balance(**scope);
    ::_exit(balance.ok() && balance->held == 60 && balance->in_doubt == 0 ? 0 : 4);
  }
  KeepingSink sink;
  auto ledger = open_ledger(options_for(directory.file()), &sink);
  ASSERT_TRUE(ledger.ok());
  auto scope = (*ledger)->open_scope({.kind = "video", .key = "1", .limit = 100});
  (*ledger)->reserve({.token = 1, .call_id = make_id(1), .amount = 60, .scopes = {*scope}});
  EXPECT_EQ(sink.wait(1).kind, Verdict::kAdmitted);
  std::filesystem::create_symlink("ledger.db", directory.file("link.db"));
  const int copied = ::open(directory.file("ledger.db-lock").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(copied, 0);
  ::close(copied);
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  ::close(go[0]);
  ::close(go[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(std::filesystem::exists(directory.file("link.db-lock")));
}

TEST(SharedFile, AnotherDurabilityIsRefused) {
  ScratchDirectory directory;
  KeepingSink sink;
  auto first = open_ledger(options_for(directory.file()), &sink);
  ASSERT_TRUE(first.ok());
  LedgerOptions other = options_for(directory.file());
  other.durability = Durability::kPower;
  EXPECT_EQ(open_ledger(other, &sink).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SharedFile, WhatIsNoLedgerIsRefused) {
  ScratchDirectory directory;
  KeepingSink sink;
  std::ofstream(directory.file("text.db")) << std::string(8'192, 'x');
  for (const std::string& path : {directory.file("text.db"), directory.file("no/such/folder.db")}) {
    const auto opened = open_ledger(options_for(path), &sink);
    ASSERT_FALSE(opened.ok());
    EXPECT_NE(opened.status().message().find(path), std::string_view::npos) << opened.status();
  }
  EXPECT_EQ(open_ledger(options_for("/tmp"), &sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  LedgerOptions without = options_for(directory.file());
  without.admit = nullptr;
  EXPECT_EQ(open_ledger(without, &sink).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SharedFile, ManyThreadsAreAnsweredOnceEach) {
  ScratchDirectory directory;
  KeepingSink sink;
  auto ledger = open_ledger(options_for(directory.file()), &sink);
  ASSERT_TRUE(ledger.ok());
  auto scope = (*ledger)->open_scope({.kind = "video", .key = "1", .limit = 1'000});
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t n = 0; n < 500; ++n) {
        (*ledger)->reserve(
            {.token = t * 1'000 + n, .call_id = make_id(n, t), .amount = 1, .scopes = {*scope}});
        if (n % 100 == 0) {
          EXPECT_TRUE((*ledger)->balance(**scope).ok());
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE((*ledger)->flush(60 * kSecond).ok());
  EXPECT_EQ(sink.size(), 2'000u);
  int admitted = 0;
  for (const auto& [token, v] : sink.take()) admitted += v.kind == Verdict::kAdmitted;
  EXPECT_EQ(admitted, 1'000);
  (*ledger)->close();
}

}  // namespace
}  // namespace sluiceway::store
