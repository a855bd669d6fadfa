// Where tests find the published test vectors, which are not part of the repository.
//
// They lie in the folder that the environment variable SLUICEWAY_SHARED names, else in ../shared
// beside the checkout. A test that needs one begins with
//   SLUICEWAY_VECTORS(path, "http_dates/curl_lib517_dates.json");
// and is skipped, with the reason, where it is absent. Also here: the seed of random tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

namespace sluiceway::testing {

inline std::filesystem::path shared_folder() {
  if (const char* folder = std::getenv("SLUICEWAY_SHARED")) return folder;
  // tests/cpp/support/vectors.h -> the checkout -> its sibling
  const auto checkout =
      std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
  return checkout.parent_path() / "shared";
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// SLUICEWAY_SEED, or one from the system; printed, so that a failure can be run again.
inline std::uint64_t seed() {
  const char* given = std::getenv("SLUICEWAY_SEED");
  const std::uint64_t value =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::cout << "SLUICEWAY_SEED=" << value << '\n';
  return value;
}

}  // namespace sluiceway::testing

#define SLUICEWAY_VECTORS(variable, name)                                                \
  const auto variable = ::sluiceway::testing::shared_folder() / "data/vectors" / (name); \
  if (!std::filesystem::exists(variable))                                                \
  GTEST_SKIP() << "published vectors are not here: " << (name)                           \
               << " (set SLUICEWAY_SHARED to the folder that has data/vectors)"
