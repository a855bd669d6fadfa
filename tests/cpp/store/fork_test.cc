// A fork in the middle of work: the child abandons the parent's ledger, and can open its own.
#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/worker.h"

namespace sluiceway::store {
namespace {

// How many descriptors of this process are open on the ledger's files.
int descriptors_on(const std::string& path) {
  int count = 0;
  DIR* list = ::opendir("/proc/self/fd");
  while (const dirent* item = ::readdir(list)) {
    char target[4096];
    const std::string link = std::string("/proc/self/fd/") + item->d_name;
    const ssize_t size = ::readlink(link.c_str(), target, sizeof(target));
    if (size > 0 && std::string(target, static_cast<std::size_t>(size)).starts_with(path)) ++count;
  }
  ::closedir(list);
  return count;
}

Reservation call(std::uint64_t n, std::uint64_t worker, const std::shared_ptr<Scope>& scope) {
  return {.token = n, .call_id = make_id(n, worker), .amount = 100, .scopes = {scope}};
}

int in_child(Ledger& inherited, const std::string& path) {
  if (descriptors_on(path) != 0) return 11;
  if (inherited.flush(kSecond).code() != absl::StatusCode::kFailedPrecondition) return 12;
  inherited.finish({.call_id = make_id(1), .kind = EntryKind::kVoid});
  inherited.close();
  KeepingSink sink;
  auto own =
      open_ledger({.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
  if (!own.ok()) return 13;
  if ((*own)->live_engines() != 2) return 14;  // the parent is alive
  auto scope = (*own)->open_scope({.kind = "video", .key = "1", .limit = 100'000});
  if (!scope.ok()) return 15;
  for (std::uint64_t n = 0; n < 200; ++n) {
    (*own)->reserve(call(n, 1, *scope));
    if (sink.wait(n).kind != Verdict::kAdmitted) return 16;
    (*own)->finish({.call_id = make_id(n, 1), .kind = EntryKind::kSettle, .amount = 60});
  }
  (*own)->close();
  return 0;
}

TEST(Fork, TheChildAbandonsAndOpensItsOwn) {
  ScratchDirectory directory;
  KeepingSink sink;
  auto ledger = open_ledger(
      {.path = directory.file(), .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  auto scope = (*ledger)->open_scope({.kind = "video", .key = "1", .limit = 100'000});
  (*ledger)->reserve(call(1, 0, *scope));
  ASSERT_EQ(sink.wait(1).kind, Verdict::kAdmitted);
  ASSERT_TRUE((*ledger)->verify().ok());  // opens the read connection too
  fork_before();
  const pid_t pid = ::fork();
  if (pid == 0) {
    fork_after_in_child();
    ::_exit(in_child(**ledger, directory.file()));
  }
  fork_after_in_parent();
  for (std::uint64_t n = 2; n < 200; ++n) {  // beside the child
    (*ledger)->reserve(call(n, 0, *scope));
    ASSERT_EQ(sink.wait(n).kind, Verdict::kAdmitted);
    (*ledger)->finish({.call_id = make_id(n), .kind = EntryKind::kSettle, .amount = 50});
  }
  const int status = wait_for(pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ASSERT_TRUE((*ledger)->flush(30 * kSecond).ok());
  auto balance = (*ledger)->balance(**scope);
  EXPECT_EQ(balance->settled, 198 * 50 + 200 * 60);
  EXPECT_EQ(balance->held, 100);  // the parent's own call is still open
  auto report = (*ledger)->verify();
  for (const auto& p : report->problems) ADD_FAILURE() << p;
  // The child's owner is gone; the next look at the owners, once a second, says so.
  for (int i = 0; i < 3'000 && (*ledger)->live_engines() != 1; ++i) ::usleep(10'000);
  EXPECT_EQ((*ledger)->live_engines(), 1);
  (*ledger)->close();
}

TEST(Fork, AParentThatDiesDoesNotTakeTheChildsFileAway) {
  ScratchDirectory directory;
  BillMemory bill;
  const std::string path = directory.file();
  // The parent of the fork is itself a child of the test, so that it can die.
  const pid_t parent = ::fork();
  if (parent == 0) {
    KeepingSink sink;
    auto ledger = open_ledger(
        {.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
    if (!ledger.ok()) ::_exit(1);
    fork_before();
    const pid_t child = ::fork();
    if (child == 0) {
      fork_after_in_child();
      WorkerPlan plan;
      plan.path = path;
      plan.calls = 500;
      (new Worker(plan, *bill))->run();
    }
    fork_after_in_parent();
    while (bill->ready.load() < 1) std::this_thread::yield();
    ::kill(::getpid(), SIGKILL);
  }
  wait_for(parent);
  bill->go.store(true);
  {
    // Another process opens and closes the file while the orphan works.
    KeepingSink sink;
    auto ledger = open_ledger(
        {.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    EXPECT_EQ((*ledger)->live_engines(), 2);
    (*ledger)->close();
  }
  for (int i = 0; i < 60'000 && bill->answered[0].load() < 500; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(bill->answered[0].load(), 500u);
  KeepingSink sink;
  auto ledger =
      open_ledger({.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
  ASSERT_TRUE(ledger.ok());
  while ((*ledger)->live_engines() != 1) std::this_thread::yield();  // the orphan closes
  (*ledger)->close();
  expect_books_match(path, *bill, 1'000'000'000);
}

int in_unannounced_child(Ledger& inherited, const Scope& scope, const std::string& path) {
  if (inherited.flush(kSecond).code() != absl::StatusCode::kFailedPrecondition) return 21;
  if (inherited.open_scope({.kind = "video", .key = "1"}).status().code() !=
      absl::StatusCode::kFailedPrecondition) {
    return 22;
  }
  if (inherited.balance(scope).status().code() != absl::StatusCode::kFailedPrecondition) return 23;
  if (inherited.verify().status().code() != absl::StatusCode::kFailedPrecondition) return 24;
  inherited.reserve(call(7, 1, nullptr));  // nobody takes it, and nobody is hurt
  KeepingSink sink;
  if (open_ledger({.path = path, .durability = Durability::kProcess, .admit = &plain_admit}, &sink)
          .status()
          .code() != absl::StatusCode::kFailedPrecondition) {
    return 25;
  }
  inherited.close();
  return 0;
}

TEST(Fork, OneWithoutTheHooksIsFound) {
  ScratchDirectory directory;
  KeepingSink sink;
  auto ledger = open_ledger(
      {.path = directory.file(), .durability = Durability::kProcess, .admit = &plain_admit}, &sink);
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  auto scope = (*ledger)->open_scope({.kind = "video", .key = "1", .limit = 100'000});
  (*ledger)->reserve(call(1, 0, *scope));
  ASSERT_EQ(sink.wait(1).kind, Verdict::kAdmitted);
  ASSERT_TRUE((*ledger)->verify().ok());
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int code = in_unannounced_child(**ledger, **scope, directory.file());
    ledger->reset();  // the last handle: must not wait for a thread that is not here
    ::_exit(code);
  }
  const int status = wait_for(pid);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  // The parent works on, its locks and its books intact.
  (*ledger)->finish({.call_id = make_id(1), .kind = EntryKind::kSettle, .amount = 60});
  ASSERT_TRUE((*ledger)->flush(60 * kSecond).ok());
  EXPECT_EQ((*ledger)->balance(**scope)->settled, 60);
  EXPECT_TRUE((*ledger)->verify()->ok());
  (*ledger)->close();
}

}  // namespace
}  // namespace sluiceway::store
