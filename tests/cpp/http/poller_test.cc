// The epoll set: what an event says of a descriptor that is no more.
#include "http/poller.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace sluiceway::http {
namespace {

TEST(Poller, AnEventOfAClosedDescriptorIsNotItsSuccessors) {
  Poller poller;
  ASSERT_TRUE(poller.open());
  const int first = ::eventfd(1, EFD_CLOEXEC);  // readable from the start
  poller.opened(first);
  poller.want(first, Poller::kRead, nullptr);
  epoll_event event{};
  ASSERT_EQ(poller.wait(&event, 1, 0), 1);
  EXPECT_EQ(Poller::fd_of(event), first);
  EXPECT_EQ(poller.entry_of(event), poller.entry(first));

  poller.closing(first);
  ::close(first);
  EXPECT_EQ(poller.entry_of(event), nullptr);
  const int second = ::eventfd(0, EFD_CLOEXEC);
  ASSERT_EQ(second, first) << "the lowest free number is taken";
  poller.opened(second);
  poller.want(second, Poller::kRead, nullptr);
  EXPECT_EQ(poller.entry_of(event), nullptr);
  ::close(second);
}

TEST(Poller, TheSetIsReadableWhenTheBellRings) {
  Poller poller;
  ASSERT_TRUE(poller.open());
  epoll_event event{};
  EXPECT_EQ(poller.wait(&event, 1, 0), 0);
  poller.ring();
  ASSERT_EQ(poller.wait(&event, 1, 0), 1);
  EXPECT_TRUE(poller.is_bell(event));
  poller.clear_bell();
  EXPECT_EQ(poller.wait(&event, 1, 0), 0);
}

}  // namespace
}  // namespace sluiceway::http
