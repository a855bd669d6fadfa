// Bodies in parts: what is read, in which pieces, and that a changed file is never read to its end.
#include "http/body.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "http/temp_file.h"

namespace sluiceway::http {
namespace {

std::shared_ptr<const BodyFile> file_of(const TempFile& file) {
  auto made = BodyFile::of(file.fd(), "a.wav");
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

std::string read_all(BodyReader& reader, std::size_t room) {
  std::string out, piece(room, '\0');
  for (std::size_t n = 0;
       reader.read(piece.data(), room, &n) == BodyReader::Result::kOk && n > 0;) {
    out.append(piece, 0, n);
  }
  return out;
}

TEST(Body, PartsAreReadInTheirOrderWhateverThePieces) {
  const TempFile file("0123456789");
  const auto body = Body::make({{.bytes = "<<"},
                                {.file = file_of(file), .offset = 2, .length = 5},
                                {.bytes = ""},
                                {.file = file_of(file), .offset = 9, .length = 1},
                                {.file = file_of(file), .offset = 10, .length = 0},
                                {.bytes = ">>"}});
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ((*body)->size(), 10);
  for (std::size_t room = 1; room <= 12; ++room) {
    BodyReader reader;
    reader.start(body->get());
    EXPECT_EQ(read_all(reader, room), "<<234569>>") << room;
    reader.start(body->get());  // another attempt begins at the first byte
    EXPECT_EQ(read_all(reader, 3), "<<234569>>");
  }
}

TEST(Body, AFileIsReadWhateverItsPositionAndItsName) {
  TempFile file("0123456789");
  const auto body = Body::make({{.file = file_of(file), .offset = 0, .length = 10}});
  ::lseek(file.fd(), 7, SEEK_SET);
  ::unlink(file.path().c_str());
  BodyReader reader;
  reader.start(body->get());
  EXPECT_EQ(read_all(reader, 4), "0123456789");
  EXPECT_EQ(::lseek(file.fd(), 0, SEEK_CUR), 7);
}

TEST(Body, WhatReachesBeyondItsFileIsRefused) {
  const TempFile file("0123456789");
  EXPECT_FALSE(Body::make({{.file = file_of(file), .offset = 6, .length = 5}}).ok());
  EXPECT_FALSE(Body::make({{.file = file_of(file), .offset = -1, .length = 5}}).ok());
  EXPECT_FALSE(Body::make({{.file = file_of(file), .offset = 6, .length = INT64_MAX}}).ok());
}

TEST(Body, OnlyRegularFilesThatCanBeRead) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const auto pipe = BodyFile::of(ends[0], "a pipe");
  EXPECT_NE(pipe.status().ToString().find("'a pipe' is not a regular file"), std::string::npos);
  ::close(ends[0]);
  ::close(ends[1]);
  const TempFile file("x");
  const int fd = ::open(file.path().c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_FALSE(BodyFile::of(fd, "f").ok());
  ::close(fd);
  EXPECT_FALSE(BodyFile::of(-1, "f").ok());
}

struct Change {
  const char* name;
  void (*make)(TempFile&);
  const char* problem;
};

class ChangedFile : public ::testing::TestWithParam<Change> {};

TEST_P(ChangedFile, IsNeverReadToItsEnd) {
  TempFile file(std::string(100, 'a'));
  file.set_time(1'000'000'000);
  const auto body = Body::make(
      {{.bytes = "head"}, {.file = file_of(file), .offset = 0, .length = 100}, {.bytes = "tail"}});
  EXPECT_EQ((*body)->changed_file(), nullptr);
  BodyReader reader;
  reader.start(body->get());
  char piece[64];
  std::size_t n = 0;
  ASSERT_EQ(reader.read(piece, sizeof piece, &n), BodyReader::Result::kOk);
  GetParam().make(file);
  BodyReader::Result result = BodyReader::Result::kOk;
  std::size_t given = n;
  while ((result = reader.read(piece, 10, &n)) == BodyReader::Result::kOk && n > 0) given += n;
  EXPECT_EQ(result, BodyReader::Result::kChanged);
  EXPECT_LT(given, 4u + 100u);
  EXPECT_EQ(reader.problem(), std::string("the file 'a.wav' ") + GetParam().problem);
  ASSERT_NE((*body)->changed_file(), nullptr);
  EXPECT_EQ(*(*body)->changed_file(), "a.wav");
}

INSTANTIATE_TEST_SUITE_P(
    Changes, ChangedFile,
    ::testing::Values(Change{"shorter", [](TempFile& f) { ASSERT_EQ(::ftruncate(f.fd(), 70), 0); },
                             "has become shorter while it was sent"},
                      Change{"longer", [](TempFile& f) { ASSERT_EQ(::ftruncate(f.fd(), 101), 0); },
                             "was changed while it was sent"},
                      Change{"other_bytes",
                             [](TempFile& f) { ASSERT_EQ(::pwrite(f.fd(), "b", 1, 99), 1); },
                             "was changed while it was sent"}),
    [](const auto& made) { return std::string(made.param.name); });

}  // namespace
}  // namespace sluiceway::http
