// What SQLite keeps of an open file on the simulated disk. Plain data: SQLite allocates it.
#pragma once

#include <sqlite3.h>

#include <cstdint>

#include "simulation/disk.h"

namespace sluiceway::simulation {

struct Handle {
  sqlite3_file base;
  SimDisk::File* file;
  std::uint64_t epoch;
  int process;
  int level;        // of the file's own lock
  int shared_mask;  // of the log index's locks
  bool maps_shared;
};

void register_vfs();

}  // namespace sluiceway::simulation
