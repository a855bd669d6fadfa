// Which process this is, told without a system call.
#pragma once

#include <cstdint>

namespace sluiceway {

// Another number in every process: how many forks lie behind it since the first call. For whoever
// asks several times a call whether it has become a fork's child; getpid() is a system call each
// time. Forks are those of fork(2) as the C library makes them. Any thread.
std::uint32_t forks_behind();

}  // namespace sluiceway
