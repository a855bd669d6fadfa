// Columns behind Arrow's C ABI: see arrow_stream.h.
#include "bindings/arrow_stream.h"

#include <cerrno>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "engine/entry_columns.h"

namespace {

// The layout is the specification's; the names are its too, for those who debug across libraries.
extern "C" {

struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  std::int64_t flags;
  std::int64_t n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  std::int64_t length;
  std::int64_t null_count;
  std::int64_t offset;
  std::int64_t n_buffers;
  std::int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

struct ArrowArrayStream {
  int (*get_schema)(ArrowArrayStream*, ArrowSchema* out);
  int (*get_next)(ArrowArrayStream*, ArrowArray* out);
  const char* (*get_last_error)(ArrowArrayStream*);
  void (*release)(ArrowArrayStream*);
  void* private_data;
};

}  // extern "C"

constexpr std::int64_t kNullable = 2;  // ARROW_FLAG_NULLABLE
constexpr std::int64_t kBatchRows = 65'536;
constexpr char kCapsule[] = "arrow_array_stream";

}  // namespace

namespace sluiceway::bindings {
namespace {

using engine::Column;

// What a struct of the ABI points into; deleted by its release callback.
template <typename Abi>
struct Owned {
  Column column;
  std::vector<const void*> buffers;
  std::vector<Abi> children;
  std::vector<Abi*> pointers;
};

template <typename Abi>
void release(Abi* abi) {
  auto* owned = static_cast<Owned<Abi>*>(abi->private_data);
  for (Abi& child : owned->children) {
    if (child.release != nullptr) child.release(&child);  // null: the consumer has moved it
  }
  delete owned;
  abi->release = nullptr;
}

template <typename Abi>
void own_children(Abi* abi, Owned<Abi>* owned) {
  for (Abi& child : owned->children) owned->pointers.push_back(&child);
  abi->n_children = static_cast<std::int64_t>(owned->children.size());
  abi->children = owned->pointers.data();
  abi->release = &release<Abi>;
  abi->private_data = owned;
}

void export_schema(const Column& column, ArrowSchema* out) {
  auto* owned = new Owned<ArrowSchema>;
  owned->column.name = column.name;
  owned->column.format = column.format;
  owned->children.resize(column.children.size());
  for (std::size_t i = 0; i < column.children.size(); ++i) {
    export_schema(column.children[i], &owned->children[i]);
  }
  *out = ArrowSchema{};
  out->format = owned->column.format.c_str();
  out->name = owned->column.name.c_str();
  out->flags = column.nullable ? kNullable : 0;
  own_children(out, owned);
}

void export_array(Column&& column, ArrowArray* out) {
  static const std::uint64_t nothing[2] = {};  // a buffer of no values still has an address
  auto* owned = new Owned<ArrowArray>;
  owned->column = std::move(column);
  Column& mine = owned->column;
  owned->children.resize(mine.children.size());
  for (std::size_t i = 0; i < mine.children.size(); ++i) {
    export_array(std::move(mine.children[i]), &owned->children[i]);
  }
  owned->buffers.push_back(mine.nulls > 0 ? mine.validity.data() : nullptr);
  if (!mine.offsets.empty()) owned->buffers.push_back(mine.offsets.data());
  if (!mine.format.starts_with('+')) {
    owned->buffers.push_back(mine.values.empty() ? static_cast<const void*>(nothing)
                                                 : mine.values.data());
  }
  *out = ArrowArray{};
  out->length = mine.length;
  out->null_count = mine.nulls;
  out->n_buffers = static_cast<std::int64_t>(owned->buffers.size());
  out->buffers = owned->buffers.data();
  own_children(out, owned);
}

// A batch is a struct whose fields are the columns.
Column struct_of(std::vector<Column>&& columns) {
  Column out;
  out.format = "+s";
  out.length = columns.front().length;
  out.children = std::move(columns);
  return out;
}

struct Stream {
  std::shared_ptr<store::Ledger> ledger;
  std::vector<std::string> archives;
  store::EntryBounds bounds;
  bool read = false;
  Status status;  // of reading: a stream that failed stays failed
  std::deque<std::vector<Column>> batches;
  std::string error;

  Status fill() {
    if (std::exchange(read, true)) return status;
    engine::EntryColumns columns;
    status = ledger->read_entries(bounds, [&](std::span<const store::Entry> rows) {
      for (const store::Entry& row : rows) {
        columns.add(row);
        if (columns.size() == kBatchRows) batches.push_back(columns.take());
      }
      return true;
    });
    if (columns.size() > 0) batches.push_back(columns.take());
    ledger = nullptr;
    return status;
  }
};

Stream& stream_of(ArrowArrayStream* abi) { return *static_cast<Stream*>(abi->private_data); }

int get_schema(ArrowArrayStream*, ArrowSchema* out) {
  export_schema(struct_of(engine::EntryColumns().take()), out);
  return 0;
}

int get_next(ArrowArrayStream* abi, ArrowArray* out) {
  Stream& stream = stream_of(abi);
  *out = ArrowArray{};
  if (const Status status = stream.fill(); !status.ok()) {
    stream.error = to_std(status.message());
    return EIO;
  }
  if (stream.batches.empty()) return 0;  // a released array is the end
  export_array(struct_of(std::move(stream.batches.front())), out);
  stream.batches.pop_front();
  return 0;
}

const char* get_last_error(ArrowArrayStream* abi) { return stream_of(abi).error.c_str(); }

void release_stream(ArrowArrayStream* abi) {
  delete static_cast<Stream*>(abi->private_data);
  abi->release = nullptr;
}

void destroy_capsule(PyObject* capsule) {
  auto* abi = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule, kCapsule));
  if (abi == nullptr) return PyErr_Clear();
  if (abi->release != nullptr) abi->release(abi);
  delete abi;
}

}  // namespace

py::capsule entry_stream(std::shared_ptr<store::Ledger> ledger, std::int64_t from_ns,
                         std::int64_t to_ns, std::vector<std::string> archives) {
  auto* stream = new Stream;
  stream->ledger = std::move(ledger);
  stream->archives = std::move(archives);
  stream->bounds.archives = stream->archives;
  stream->bounds.from_ns = from_ns;
  stream->bounds.to_ns = to_ns;
  auto* abi =
      new ArrowArrayStream{&get_schema, &get_next, &get_last_error, &release_stream, stream};
  PyObject* capsule = PyCapsule_New(abi, kCapsule, &destroy_capsule);
  if (capsule == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace sluiceway::bindings
