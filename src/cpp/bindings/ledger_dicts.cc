// Rows as dicts: see ledger_dicts.h.
#include "bindings/ledger_dicts.h"

#include <pybind11/stl.h>

#include "bindings/texts.h"

namespace sluiceway::bindings {

py::dict labels_dict(const std::shared_ptr<const store::CallLabels>& labels) {
  py::dict out;
  const store::CallLabels none;
  const auto& l = labels ? *labels : none;
  out["provider"] = l.provider;
  out["model"] = l.model;
  out["operation"] = l.operation;
  out["tenant"] = l.tenant;
  out["account"] = l.account;
  out["tags"] = l.tags;
  out["unit"] = l.unit;
  return out;
}

py::dict entry_dict(const store::Entry& entry) {
  py::dict out = labels_dict(entry.labels);
  out["call_id"] = entry.call_id.text();
  out["kind"] = std::string(store::entry_kind_name(entry.kind));
  out["at_ns"] = entry.time_ns;
  out["at_s"] = static_cast<double>(entry.time_ns) / 1e9;
  out["amount_nanousd"] = entry.amount;
  out["price_version"] = entry.price_version;
  out["intent_id"] = entry.intent_id.empty() ? std::string() : entry.intent_id.text();
  out["scopes"] = entry.scopes;
  out["attempts"] = entry.attempt;
  out["latency_ns"] = entry.latency_ns;
  out["latency_ms"] = static_cast<double>(entry.latency_ns) / 1e6;
  out["estimated"] = entry.estimated;
  out["overrun"] = entry.overrun;
  out["provider_request_id"] = header_text(entry.provider_request_id);
  out["evidence"] = entry.evidence;
  py::dict usage;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    if (entry.usage.has(bucket))
      usage[py::str(std::string(bucket_name(bucket)))] = entry.usage.get(bucket);
  }
  out["usage"] = usage;
  const bool reported = entry.usage.reported_cost_nanousd >= 0;
  out["reported_cost_nanousd"] =
      reported ? py::object(py::int_(entry.usage.reported_cost_nanousd)) : py::object(py::none());
  return out;
}

}  // namespace sluiceway::bindings
