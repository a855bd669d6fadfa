// SQL on a ledger's file behind the ledger's back: files of older versions, and books gone wrong.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <string>

namespace sluiceway::store {

// Runs the statements; returns how many rows the last of them changed.
inline int run_sql(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(db);
  const int changed = sqlite3_changes(db);
  sqlite3_close(db);
  return changed;
}

}  // namespace sluiceway::store
