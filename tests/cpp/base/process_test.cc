// A fork's child has a number of its own.
#include "base/process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluiceway {
namespace {

// The child's exit code of `work`.
template <typename Work>
int in_a_fork(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status)
             ? WEXITSTATUS(status)
             : -1;
}

TEST(ProcessTest, ForksAreCountedInTheChildAlone) {
  const std::uint32_t here = forks_behind();
  EXPECT_EQ(forks_behind(), here);
  const int answer = in_a_fork([&] {
    if (forks_behind() == here) return 1;
    const std::uint32_t child = forks_behind();
    // The child's child differs from both.
    return in_a_fork([&] { return forks_behind() != child && forks_behind() != here ? 7 : 2; });
  });
  EXPECT_EQ(answer, 7);
  EXPECT_EQ(forks_behind(), here);
}

}  // namespace
}  // namespace sluiceway
