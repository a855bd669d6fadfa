// SQL on a ledger's file behind the ledger's back: files of older versions, and books gone wrong.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
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

// The number that the statement's only row has.
inline std::int64_t sql_number(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  sqlite3_stmt* row = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &row, nullptr), SQLITE_OK) << sql;
  EXPECT_EQ(sqlite3_step(row), SQLITE_ROW);
  const std::int64_t value = sqlite3_column_int64(row, 0);
  sqlite3_finalize(row);
  sqlite3_close(db);
  return value;
}

}  // namespace sluiceway::store
