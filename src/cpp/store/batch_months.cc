// Letting go of an archived month: see archive.h and batch.h.
#include "store/batch.h"
#include "store/faults.h"

namespace sluiceway::store {

StatusOr<std::vector<MonthInfo>> BatchWriter::months() {
  if (Status s = begin(); !s.ok()) return end(std::move(s), "", "");
  StatusOr<std::vector<MonthInfo>> list = backend_.list_months();
  const std::int32_t now = segment_;
  (void)refuse(absl::OkStatus());
  if (list.ok()) std::erase_if(*list, [&](const MonthInfo& m) { return m.segment >= now; });
  return list;
}

StatusOr<bool> BatchWriter::drop_month(const MonthSums& month, std::string_view path) {
  Status status = begin();
  if (!status.ok()) return end(std::move(status), "", "");
  StatusOr<std::vector<MonthInfo>> list = backend_.list_months();
  if (!list.ok()) return end(list.status(), "", "");
  const auto it = std::find_if(list->begin(), list->end(),
                               [&](const MonthInfo& m) { return m.segment == month.segment; });
  // Another process has archived it, or a call of it was opened.
  if (it == list->end() || it->holds > 0) {
    (void)refuse(absl::OkStatus());
    return false;
  }
  StatusOr<std::int64_t> rows = backend_.count_entries(month.segment);
  if (!rows.ok()) return end(rows.status(), "", "");
  if (*rows != month.rows) {  // a refund or a correction came in between
    (void)refuse(absl::OkStatus());
    return false;
  }
  for (const auto& [ref, posted] : month.posted) {
    StatusOr<RowPtr> row = row_of(ref);
    status = row.status();
    if (status.ok()) status = backend_.add_archived((*row)->id, posted);
    if (!status.ok()) return end(std::move(status), "", "");
  }
  for (const auto& [scope, granted] : month.granted) {
    if (status.ok()) status = backend_.add_archived_grant(scope, granted);
  }
  if (status.ok()) status = backend_.drop_month(month.segment, month.rows, path, now_ns_);
  status = end(std::move(status), "archive.before_commit", "archive.after_commit");
  if (!status.ok()) return status;
  return true;
}

}  // namespace sluiceway::store
