// The rows of async jobs, written and read: see booking.h.
#include <absl/strings/str_cat.h>

#include "store/sqlite_backend.h"

namespace sluiceway::store {
namespace {

// In the order of the table's columns.
JobRow job_row(const Statement& row) {
  JobRow job;
  job.call_id = row.id_at(0);
  job.provider = row.text_at(1);
  job.account = row.text_at(2);
  job.tenant = row.text_at(3);
  job.key_id = row.text_at(4);
  job.provider_job_id = row.text_at(5);
  job.state = row.text_at(6);
  job.created_ns = row.int_at(7);
  job.updated_ns = row.int_at(8);
  job.request = row.text_at(9);
  job.result = row.text_at(10);
  return job;
}

}  // namespace

Status SqliteBackend::insert_job(const JobRow& row) {
  StatusOr<Statement*> sql = statement(kInsertJob);
  if (!sql.ok()) return sql.status();
  Statement& insert = **sql;
  insert.bind(row.call_id).bind(row.provider).bind(row.account).bind(row.tenant);
  insert.bind(row.key_id).bind(row.provider_job_id).bind(row.state);
  insert.bind(row.created_ns).bind(row.updated_ns);
  return insert.bind(row.request).bind(row.result).run();
}

Status SqliteBackend::update_job(const JobRow& row) {
  StatusOr<Statement*> sql = statement(kUpdateJob);
  if (!sql.ok()) return sql.status();
  return (*sql)->bind(row.state).bind(row.result).bind(row.updated_ns).bind(row.call_id).run();
}

StatusOr<std::optional<JobRow>> SqliteBackend::find_job(const Id& call) {
  StatusOr<Statement*> sql = statement(kFindJob);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  StatusOr<bool> found = (*sql)->bind(call).step();
  if (!found.ok()) return found.status();
  return *found ? std::optional<JobRow>(job_row(**sql)) : std::optional<JobRow>{};
}

StatusOr<bool> SqliteBackend::has_job(std::string_view provider, std::string_view account,
                                      std::string_view provider_job_id) {
  StatusOr<Statement*> sql = statement(kHasJob);
  if (!sql.ok()) return sql.status();
  const ResetAtEnd end(**sql);
  return (*sql)->bind(provider).bind(account).bind(provider_job_id).step();
}

StatusOr<std::vector<JobRow>> SqliteReader::jobs(std::string_view state,
                                                 std::string_view provider_job_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  Statement rows;
  Status prepared =
      rows.prepare(db_, absl::StrCat("SELECT * FROM jobs", state.empty() ? "" : " WHERE state = ?",
                                     provider_job_id.empty() ? "" : " WHERE provider_job_id = ?",
                                     " ORDER BY created_ns, call_id"));
  if (!prepared.ok()) return prepared;
  if (!state.empty()) rows.bind(state);
  if (!provider_job_id.empty()) rows.bind(provider_job_id);
  std::vector<JobRow> out;
  for (;;) {
    StatusOr<bool> row = rows.step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    out.push_back(job_row(rows));
  }
}

StatusOr<std::optional<JobRow>> SqliteReader::job(const Id& call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Status s = ensure_open(); !s.ok()) return s;
  Statement rows;
  if (Status s = rows.prepare(db_, "SELECT * FROM jobs WHERE call_id = ?"); !s.ok()) {
    return s;
  }
  StatusOr<bool> found = rows.bind(call).step();
  if (!found.ok()) return found.status();
  return *found ? std::optional<JobRow>(job_row(rows)) : std::optional<JobRow>{};
}

}  // namespace sluiceway::store
