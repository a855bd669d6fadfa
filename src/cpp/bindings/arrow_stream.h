// Entries as an Arrow C stream in a PyCapsule, which pyarrow, polars and duckdb take without our
// depending on any of them.
//
// Model. The three structs of the C data interface are an ABI that producers and consumers state
// each for themselves; they live in arrow_stream.cc. The stream reads the ledger at the first batch
// and hands out batches of 65,536 entries; every batch owns its memory until the consumer releases
// it. After the stream was taken nothing in it calls Python, so that a consumer may drive it from
// any thread, without the GIL. A capsule that nobody consumed releases its stream.
//
// Bounds: about 250 bytes an entry from the first batch on. With the GIL.
// Source: Apache Arrow, "The Arrow C data interface", "The Arrow C stream interface" and "The Arrow
// PyCapsule interface", read 2026-11-22.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/ledger.h"

namespace sluiceway::bindings {

namespace py = pybind11;

// A capsule named "arrow_array_stream" over the entries of a span of ledger time, those of archives
// first.
py::capsule entry_stream(std::shared_ptr<store::Ledger> ledger, std::int64_t from_ns,
                         std::int64_t to_ns, std::vector<std::string> archives);

}  // namespace sluiceway::bindings
