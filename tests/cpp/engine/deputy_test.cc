// An event loop that takes the engine's turns, over loopback: it does, it fails to, it goes.
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "loopback.h"

namespace sluiceway::engine {
namespace {

// A loop of its own on a thread of its own. While `busy` it watches, as told, and takes no turn.
class Loop final : public Deputy {
 public:
  explicit Loop(Engine& engine) : engine_(engine), thread_([this] { run(); }) {}
  ~Loop() override {
    stop_ = true;
    thread_.join();
    ::close(set_);
  }
  void watch(int fd) override { change(EPOLL_CTL_ADD, fd), ++watched; }
  void ignore(int fd) override { change(EPOLL_CTL_DEL, fd), ++ignored; }

  std::atomic<bool> busy{false};
  std::atomic<int> watched{0}, ignored{0}, rung{0};

 private:
  void change(int operation, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ASSERT_EQ(::epoll_ctl(set_, operation, fd, &event), 0);
  }
  void run() {
    while (!stop_) {
      epoll_event event{};
      if (::epoll_wait(set_, &event, 1, 1) <= 0) continue;
      ++rung;
      if (busy) {
        std::this_thread::yield();
      } else {
        engine_.turn_as_deputy(*this);
      }
    }
  }

  Engine& engine_;
  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class DeputyTest : public testing::TestWithParam<bool> {
 public:
  // One call to its end.
  void call() {
    const auto made = origin.submit();
    ASSERT_TRUE(made->wait(kPatienceNs, false));
    ASSERT_EQ(made->ending().kind, ErrorKind::kNone) << made->ending().message;
    EXPECT_EQ(made->ending().cost, kCost);
  }
  std::uint64_t turns_by_loops() { return origin.engine->counters().turns_by_loops.load(); }

  store::ScratchDirectory folder;
  Loopback origin{GetParam() ? folder.file() : std::string(":memory:")};
  std::shared_ptr<Loop> loop = std::make_shared<Loop>(*origin.engine);
};

INSTANTIATE_TEST_SUITE_P(Ledgers, DeputyTest, testing::Bool(),
                         [](const auto& ledger) { return ledger.param ? "file" : "memory"; });

TEST_P(DeputyTest, TakesTheTurns) {
  constexpr int kCalls = 300;
  for (int i = 0; i < kCalls; ++i) {
    origin.engine->deputize(loop);  // a slow machine may have dismissed it
    call();
  }
  EXPECT_EQ(origin.server.executions, kCalls);
  EXPECT_GT(turns_by_loops(), 0);
  EXPECT_GE(loop->watched, 1);
}

TEST_P(DeputyTest, OneThatIsBusyIsDismissed) {
  loop->busy = true;
  for (int i = 0; i < 20; ++i) {
    origin.engine->deputize(loop);
    call();  // ends all the same
  }
  EXPECT_EQ(turns_by_loops(), 0);
  EXPECT_GE(loop->watched, 1);
  EXPECT_GE(loop->ignored, loop->watched - 1);
}

TEST_P(DeputyTest, ADismissedOneTakesNoTurn) {
  origin.engine->turn_as_deputy(*loop);  // was never appointed
  EXPECT_EQ(turns_by_loops(), 0);
  call();
}

TEST_P(DeputyTest, NoLoopWaitsForADisk) {
  auto parts = http::Body::make({http::BodyPart{.bytes = "{}"}});
  ASSERT_TRUE(parts.ok()) << parts.status().ToString();
  origin.hold = true;
  const auto upload = origin.submit(*parts);
  while (origin.server.executions == 0) std::this_thread::yield();
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(origin.engine->deputize(loop));
  origin.hold = false;
  ASSERT_TRUE(upload->wait(kPatienceNs, false));
  EXPECT_EQ(upload->ending().kind, ErrorKind::kNone) << upload->ending().message;
  while (!origin.engine->deputize(loop)) std::this_thread::yield();
}

TEST_P(DeputyTest, TheEngineClosesWhileItWatches) {
  for (int i = 0; i < 50; ++i) {
    origin.engine->deputize(loop);
    call();
  }
  origin.engine->deputize(loop);
  const auto last = origin.submit();
  origin.engine->close(kPatienceNs);
  ASSERT_TRUE(last->wait(kPatienceNs, false));
  EXPECT_EQ(last->ending().kind, ErrorKind::kNone) << last->ending().message;
  EXPECT_EQ(loop->watched, loop->ignored);
}

TEST_P(DeputyTest, ManyCallersAndCancelsBesideIt) {
  storm(origin, 4, [this](int i) {
    origin.engine->deputize(loop);
    if (i == kStormCalls / 2) loop->busy = !loop->busy;
  });
}

}  // namespace
}  // namespace sluiceway::engine
