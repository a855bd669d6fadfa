// Ledger files of schema versions 1 to 3, made by their literal SQL, become version 4: whole or
// not at all, and not while an engine of that version lives.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "store/failing_disk.h"
#include "store/faults.h"
#include "store/run_sql.h"
#include "store/schema.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

// What version 1 made, word for word.
constexpr char kVersion1[] = R"sql(
CREATE TABLE clock(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  ledger_ns INTEGER NOT NULL,
  anchor_ledger_ns INTEGER NOT NULL,
  anchor_boot_ns INTEGER NOT NULL,
  boot_id TEXT NOT NULL);
INSERT INTO clock VALUES (1, 0, 0, 0, '');
CREATE TABLE limits(
  scope_id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  unit TEXT NOT NULL,
  limit_nanousd INTEGER,
  period INTEGER NOT NULL,
  time_zone TEXT NOT NULL,
  rolling_ns INTEGER NOT NULL,
  created_ns INTEGER NOT NULL,
  UNIQUE (kind, key));
CREATE TABLE balances(
  balance_id INTEGER PRIMARY KEY,
  scope_id INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  window TEXT NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  in_doubt INTEGER NOT NULL DEFAULT 0,
  blocked INTEGER NOT NULL DEFAULT 0,
  UNIQUE (scope_id, slot, window));
CREATE VIEW slots AS SELECT * FROM balances WHERE slot >= 0;
CREATE TABLE labels(
  label_id INTEGER PRIMARY KEY,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  operation TEXT NOT NULL,
  tenant TEXT NOT NULL,
  account TEXT NOT NULL,
  tags TEXT NOT NULL,
  unit TEXT NOT NULL,
  UNIQUE (provider, model, operation, tenant, account, tags, unit));
CREATE TABLE prices(
  price_id INTEGER PRIMARY KEY,
  version TEXT NOT NULL UNIQUE);
CREATE TABLE holds(
  call_id BLOB PRIMARY KEY,
  amount INTEGER NOT NULL,
  in_doubt INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  since_ns INTEGER NOT NULL,
  labels INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  balances BLOB) WITHOUT ROWID;
CREATE TABLE idempotency(
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  intent_id BLOB NOT NULL,
  call_id BLOB NOT NULL,
  time_ns INTEGER NOT NULL,
  PRIMARY KEY (tenant, key)) WITHOUT ROWID;
CREATE TABLE jobs(
  call_id BLOB PRIMARY KEY,
  provider_job_id TEXT NOT NULL,
  labels INTEGER NOT NULL,
  key_id TEXT NOT NULL,
  state INTEGER NOT NULL,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  request TEXT,
  result TEXT) WITHOUT ROWID;
CREATE INDEX jobs_by_provider_id ON jobs(provider_job_id);
CREATE TABLE owners(
  owner_id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  version INTEGER NOT NULL,
  started_ns INTEGER NOT NULL);
CREATE TABLE segments(
  segment INTEGER PRIMARY KEY,
  created_ns INTEGER NOT NULL,
  archived_ns INTEGER,
  archived_to TEXT);
CREATE TABLE archived(
  balance_id INTEGER PRIMARY KEY,
  settled INTEGER NOT NULL);
CREATE TABLE entries_202611(call_id BLOB NOT NULL, attempt INTEGER NOT NULL, kind INTEGER NOT NULL,
 time_ns INTEGER NOT NULL, amount INTEGER NOT NULL, labels INTEGER NOT NULL,
 price INTEGER NOT NULL, flags INTEGER NOT NULL, latency_ns INTEGER NOT NULL,
 intent_id BLOB, balances BLOB, usage BLOB, request_id TEXT, evidence TEXT,
 PRIMARY KEY (call_id, attempt, kind)) WITHOUT ROWID;
)sql";

// Two scopes, a plain one and a rolling hour with one slot; call 1 settled at 70, call 2 in doubt
// at
// 50. Times are 2026-11-22T06:00:00Z and a second later; that minute is slot 29922120 (seconds /
// 60).
constexpr char kRows[] = R"sql(
UPDATE clock SET ledger_ns = 1795327201000000000, anchor_ledger_ns = 1795327200000000000,
  anchor_boot_ns = 1000000000000, boot_id = 'an old boot';
INSERT INTO limits VALUES (1, 'video', '42', 'nanousd', 1000, 0, 'UTC', 0, 0),
  (2, 'hour', '', 'nanousd', 500, 0, 'UTC', 3600000000000, 0);
INSERT INTO balances VALUES (1, 1, -1, '', 70, 0, 50, 0), (2, 2, 29922120, '', 70, 0, 50, 0);
INSERT INTO labels VALUES (1, 'openai', 'gpt-x', 'chat', 'acme', 'main', '', 'nanousd');
INSERT INTO segments(segment, created_ns) VALUES (202611, 1795327200000000000);
INSERT INTO entries_202611(call_id, attempt, kind, time_ns, amount, labels, price, flags,
  latency_ns, balances) VALUES
  (x'00000000000010010000000000000001', 0, 0, 1795327200000000000, 100, 1, 0, 0, 0, x'0102'),
  (x'00000000000010010000000000000001', 1, 1, 1795327201000000000, 70, 1, 0, 0, 0, NULL),
  (x'00000000000010020000000000000001', 0, 0, 1795327200000000000, 50, 1, 0, 0, 0, x'0102'),
  (x'00000000000010020000000000000001', 0, 3, 1795327201000000000, 50, 1, 0, 0, 0, NULL);
INSERT INTO holds VALUES (x'00000000000010020000000000000001', 50, 1, 0, 1795327201000000000, 1,
  202611, x'0102');
INSERT INTO owners(owner_id, pid, version, started_ns) VALUES (7, 1, 1, 0);
PRAGMA application_id = 0x736c7579;
PRAGMA user_version = 1;
)sql";

// What version 2 made of that, word for word but for its log of commits, which is empty.
constexpr char kToVersion2[] = R"sql(
ALTER TABLE limits ADD COLUMN granted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segments ADD COLUMN archived_entries INTEGER;
ALTER TABLE archived ADD COLUMN overrun INTEGER NOT NULL DEFAULT 0;
DROP TABLE jobs;
INSERT INTO balances(scope_id, slot, window)
  SELECT scope_id, -2, '' FROM limits WHERE rolling_ns > 0;
CREATE TABLE identity(ledger_id BLOB NOT NULL);
INSERT INTO identity VALUES (randomblob(16));
CREATE TABLE archived_grants(
  scope_id INTEGER PRIMARY KEY,
  granted INTEGER NOT NULL);
CREATE TABLE commits(
  seq INTEGER PRIMARY KEY,
  time_ns INTEGER NOT NULL,
  refs BLOB NOT NULL);
CREATE TABLE quarantine(
  call_id BLOB PRIMARY KEY,
  reason TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  in_doubt INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  since_ns INTEGER NOT NULL,
  labels INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  balances BLOB) WITHOUT ROWID;
CREATE TABLE jobs(
  call_id BLOB PRIMARY KEY,
  provider TEXT NOT NULL,
  account TEXT NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  provider_job_id TEXT NOT NULL,
  state TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  request TEXT NOT NULL,
  result TEXT NOT NULL,
  UNIQUE (provider_job_id, provider, account)) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs(state);
UPDATE limits SET granted = 7 WHERE scope_id = 1;
INSERT INTO entries_202611(call_id, attempt, kind, time_ns, amount, labels, price, flags,
  latency_ns, balances) VALUES
  (x'00000000000010090000000000000001', 0, 7, 1795327201000000000, 7, 1, 0, 0, 0, x'01');
PRAGMA user_version = 2;
)sql";

// What version 3 made of that, and a call that its engine had under way when it died.
constexpr char kToVersion3[] = R"sql(
CREATE TABLE closed_limits(
  balance_id INTEGER PRIMARY KEY,
  limit_nanousd INTEGER);
INSERT INTO entries_202611(call_id, attempt, kind, time_ns, amount, labels, price, flags,
  latency_ns, balances) VALUES
  (x'00000000000010050000000000000001', 0, 0, 1795327201000000000, 20, 1, 0, 0, 0, x'01');
INSERT INTO holds VALUES (x'00000000000010050000000000000001', 20, 0, 7, 1795327201000000000, 1,
  202611, x'01');
UPDATE balances SET held = held + 20 WHERE balance_id = 1;
PRAGMA user_version = 3;
)sql";

class MigrateTest : public LedgerFixture {
 protected:
  MigrateTest() : LedgerFixture(kSunday + 2 * kSecond) {}

  void SetUp() override {
    run_sql(directory_.file(), "PRAGMA journal_mode=WAL");
    run_sql(directory_.file(), kVersion1);
    run_sql(directory_.file(), kRows);
  }
  StatusOr<std::shared_ptr<Ledger>> try_open() { return open_ledger(options(), &sink_); }
  // Everything that version 1 had is there, and what version 2 does works on it.
  void expect_migrated() {
    auto opened = try_open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    Ledger& ledger = **opened;
    auto report = ledger.verify();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->problems, std::vector<std::string>{});
    EXPECT_EQ(report->entries, 4);
    auto changes = ledger.changes(0, 100);
    ASSERT_TRUE(changes.ok()) << changes.status();
    ASSERT_EQ(changes->entries.size(), 4u);
    EXPECT_EQ(changes->entries[0].kind, EntryKind::kReserve);
    EXPECT_EQ(changes->entries[0].scopes, (std::vector<std::string>{"video:42", "hour"}));
    EXPECT_EQ(changes->entries[2].kind, EntryKind::kSettle);
    EXPECT_EQ(ledger.changes(0, 1)->entries.size(), 2u);  // those of one moment
    auto video = *ledger.open_scope({.kind = "video", .key = "42", .limit = 1'000});
    auto hour =
        *ledger.open_scope({.kind = "hour", .limit = 500, .rolling_ns = 3'600 * kNsPerSecond});
    EXPECT_EQ(ledger.balance(*hour)->settled, 70);
    EXPECT_EQ(*ledger.grant(make_id(90), *video, 5, "payment"), 1'005);
    // Into the slot that version 1 named by its row, and that version 2 names by the anchor.
    ledger.reserve({.token = 3, .call_id = make_id(3), .amount = 380, .scopes = {video, hour}});
    ledger.pump();
    EXPECT_EQ(sink_.wait(3).kind, Verdict::kAdmitted);
    ledger.reserve({.token = 4, .call_id = make_id(4), .amount = 1, .scopes = {hour}});
    ledger.pump();
    EXPECT_EQ(sink_.wait(4).kind, Verdict::kExceeded);
    ASSERT_TRUE(ledger.resolve(make_id(2), 30, "bill").ok());
    EXPECT_EQ(*ledger.refund({.calls = {make_id(1)}, .amount = 70, .evidence = "credit"}), 0);
    ASSERT_TRUE(ledger.create_job({.call_id = make_id(3), .provider_job_id = "job"}).ok());
    EXPECT_EQ(ledger.balance(*hour)->settled, 30);
    EXPECT_EQ(ledger.verify()->problems, std::vector<std::string>{});
    ledger.close();
  }
};

TEST_F(MigrateTest, KeepsEverything) {
  expect_migrated();
  EXPECT_EQ(sql_number(directory_.file(), "PRAGMA user_version"), 4);
}

TEST_F(MigrateTest, IsRefusedWhileAnOlderEngineLives) {
  int ready[2], stop[2];
  ASSERT_EQ(::pipe(ready) + ::pipe(stop), 0);
  const pid_t older = ::fork();  // holds the byte of owner 7, as an engine of version 1 does
  if (older == 0) {
    ::close(stop[1]);
    const int fd = ::open((directory_.file() + "-lock").c_str(), O_RDWR | O_CREAT, 0600);
    struct flock byte{};
    byte.l_type = F_WRLCK;
    byte.l_whence = SEEK_SET;
    byte.l_start = 1'024 + 7;
    byte.l_len = 1;
    char letter = ::fcntl(fd, F_SETLK, &byte) == 0 ? 'y' : 'n';
    (void)!::write(ready[1], &letter, 1);
    (void)!::read(stop[0], &letter, 1);  // until the test closes its end
    ::_exit(0);
  }
  ::close(stop[0]);
  char letter = 0;
  ASSERT_EQ(::read(ready[0], &letter, 1), 1);
  ASSERT_EQ(letter, 'y');
  EXPECT_EQ(try_open().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(sql_number(directory_.file(), "PRAGMA user_version"), 1);
  ::close(stop[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(older, &status, 0), older);
  ::close(ready[0]);
  ::close(ready[1]);
  expect_migrated();
}

TEST_F(MigrateTest, ACrashInTheMiddleLeavesOneOrTheOther) {
  for (const std::string label : {"migrate.before_commit", "migrate.after_commit"}) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      set_fault_hook([&](const char* passed) {
        if (label == passed) ::kill(::getpid(), SIGKILL);
      });
      (void)try_open();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status)) << label << " was not passed";
    EXPECT_EQ(sql_number(directory_.file(), "PRAGMA user_version"),
              label == "migrate.after_commit" ? 4 : 1);
  }
  expect_migrated();
}

TEST_F(MigrateTest, ADiskThatRefusesLeavesTheOldFile) {
  int failures = 0;
  {
    FailingDisk disk;
    for (int after = 0; after < 40; ++after) {
      disk.fail(SQLITE_FULL, after);
      auto opened = try_open();
      disk.heal();
      if (opened.ok()) {
        (*opened)->close();
        break;
      }
      ++failures;
      EXPECT_EQ(opened.status().code(), absl::StatusCode::kResourceExhausted) << opened.status();
      if (sql_number(directory_.file(), "PRAGMA user_version") == 4)
        break;  // the owner's row did not fit any more
    }
  }
  EXPECT_GT(failures, 3);
  expect_migrated();
}

TEST_F(MigrateTest, ANewerFileIsRefused) {
  run_sql(directory_.file(), "PRAGMA user_version = 5");
  EXPECT_EQ(try_open().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(MigrateTest, AFileMigratedUnderARunningEngineIsLeftAlone) {
  auto ledger = *try_open();
  auto video = *ledger->open_scope({.kind = "video", .key = "42", .limit = 1'000});
  run_sql(directory_.file(), "PRAGMA user_version = 5");
  ledger->reserve({.token = 3, .call_id = make_id(3), .amount = 1, .scopes = {video}});
  ledger->pump();
  EXPECT_EQ(sink_.wait(3).kind, Verdict::kUnavailable);
  run_sql(directory_.file(), "PRAGMA user_version = 4");
  ledger->reserve({.token = 4, .call_id = make_id(4), .amount = 1, .scopes = {video}});
  ledger->pump();
  EXPECT_EQ(sink_.wait(4).kind, Verdict::kAdmitted);
  ledger->close();
}

// All that version 2 had is there, and a limit that changes now is remembered.
TEST_F(MigrateTest, AFileOfVersion2IsMigrated) {
  run_sql(directory_.file(), kToVersion2);
  auto opened = try_open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  Ledger& ledger = **opened;
  EXPECT_EQ(ledger.verify()->problems, std::vector<std::string>{});
  auto video = *ledger.open_scope({.kind = "video", .key = "42", .limit = 1'000});
  EXPECT_EQ(ledger.balance(*video)->limit, 1'007);
  video = *ledger.open_scope({.kind = "video", .key = "42", .limit = 900, .replace = true});
  EXPECT_EQ(ledger.balance(*video)->limit, 907);
  auto changes = ledger.changes(0, 10);
  ASSERT_EQ(changes->entries.size(), 1u);
  EXPECT_EQ(changes->entries[0].kind, EntryKind::kReplace);
  EXPECT_EQ(changes->entries[0].amount, -100);
  EXPECT_EQ(ledger.verify()->problems, std::vector<std::string>{});
  ledger.close();
  EXPECT_EQ(sql_number(directory_.file(), "PRAGMA user_version"), 4);
}

// A hold that version 3 had as a row of its own is found, and is doubt.
TEST_F(MigrateTest, AFileOfVersion3KeepsItsHolds) {
  run_sql(directory_.file(), kToVersion2);
  run_sql(directory_.file(), kToVersion3);
  auto opened = try_open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  Ledger& ledger = **opened;
  EXPECT_EQ(ledger.verify()->problems, std::vector<std::string>{});
  auto holds = ledger.holds();
  ASSERT_EQ(holds->size(), 2u);
  EXPECT_EQ((*holds)[1].call_id, make_id(5));
  EXPECT_TRUE((*holds)[1].in_doubt);
  EXPECT_TRUE(ledger.resolve(make_id(5), 12, "bill").ok());
  auto video = *ledger.open_scope({.kind = "video", .key = "42", .limit = 1'000});
  EXPECT_EQ(ledger.balance(*video)->settled, 70 + 12);
  EXPECT_EQ(ledger.verify()->problems, std::vector<std::string>{});
  ledger.close();
  EXPECT_EQ(sql_number(directory_.file(), "PRAGMA user_version"), 4);
}

}  // namespace
}  // namespace sluiceway::store
