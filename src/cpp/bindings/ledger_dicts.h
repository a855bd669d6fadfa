// Ledger rows as Python dicts: what gw.ledger hands out.
//
// Amounts are ints in the row's unit; times are Unix seconds (at_s) and, exact, nanoseconds
// (at_ns). With the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "store/ledger.h"

namespace sluiceway::bindings {

namespace py = pybind11;

// provider, model, operation, tenant, account, tags, unit; all empty without labels but the unit.
py::dict labels_dict(const std::shared_ptr<const store::CallLabels>& labels);
// Everything a row has. `usage` holds only what was reported.
py::dict entry_dict(const store::Entry& entry);

}  // namespace sluiceway::bindings
