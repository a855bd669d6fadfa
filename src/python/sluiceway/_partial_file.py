"""A file that is being downloaded: what is there so far, and whether it can be gone on with.

Model: the bytes are in `path.part`, in order, from the first; `path.part.json` beside it says which
version of the resource they are of: its strong ETag or a Last-Modified that is old enough, its
length, a hash of the URL (which may hold a signature), and the boot of the machine, since a power
cut may have lost bytes of a file whose size is right. Without such a validator nothing of it can be
gone on with. The finished file is synced, then renamed, so that `path` is whole whenever it is
there. One download at a time has the lock of a .part.

Errors: `FileError` with the file's name; `InvalidRequest` when another download has the lock, and
for a path at which there is something else than a file.
Threads: any, one after the other; `close` waits for a `write` that another one is in. After a fork
the child must not use it. Memory: none beside the pieces in hand. Linux.

    part = PartialFile.open("v.mp4", url)
    part.begin('"abc"', 5); part.write([b"hel", b"lo"]); part.finish()

Source: rename(2), fsync(2), flock(2); RFC 9110, 8.8 (validators), 13.1.5 (If-Range).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Sequence

from sluiceway.errors import FileError, InvalidRequest

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
FORMAT = 1


class PartialFile:
    """See the top of the file. `size` is what is there, `total` what there will be, if known."""

    __slots__ = ("_fd", "_key", "_lock", "_sidecar", "part", "path", "size", "total", "validator")

    def __init__(self, path: str, fd: int, key: dict[str, object]) -> None:
        self.path = path
        self.part = path + ".part"
        self._sidecar = path + ".part.json"
        self._fd = fd
        self._key = key
        self._lock = threading.Lock()
        self.size = 0
        self.total: int | None = None
        self.validator = ""

    @classmethod
    def open(cls, path: str, url: str) -> PartialFile:
        """Takes the lock, and what an earlier download of the same URL has left."""
        if os.path.isdir(path) or not os.path.basename(path):
            raise InvalidRequest(f"{path!r} is a folder; name the file to write")
        if os.path.exists(path) and not os.path.isfile(path):  # the rename would put a file there
            raise InvalidRequest(
                f"{path!r} is a device, a pipe or a socket, which a download would replace; name a"
                " file to write, or read the bytes with gw.raw.stream"
            )
        part = cls(path, _locked(path + ".part"), _key(url))
        try:
            part._remember()
        except OSError as error:
            part.close()
            raise _failed(part.part, error) from error
        return part

    def _remember(self) -> None:
        try:
            with open(self._sidecar, encoding="utf-8") as file:
                known = json.load(file)
            same = all(known.get(name) == value for name, value in self._key.items())
            validator, total = known.get("validator"), known.get("total")
        except (OSError, ValueError, AttributeError):
            same, validator, total = False, "", None
        whole = total is None or (isinstance(total, int) and total >= 0)
        if same and isinstance(validator, str) and validator and whole:
            self.validator, self.total = validator, total
            self.size = os.fstat(self._fd).st_size
            if total is None or self.size <= total:
                return
        self._forget()

    def _forget(self) -> None:
        self.validator, self.total, self.size = "", None, 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._sidecar)
        os.ftruncate(self._fd, 0)

    def resume_at(self) -> int:
        """From which byte to ask; 0: for all of it.

        At least the last byte is asked for again, so that an answer says whether what is there is
        still the version that the server has.
        """
        if not self.validator:
            return 0
        return self.size if self.total is None else min(self.size, max(self.total - 1, 0))

    def begin(self, validator: str, total: int | None) -> None:
        """Starts from the first byte, of the version that `validator` names ("": none)."""
        with self._lock:
            self._check_open()
            try:
                self._forget()
                if validator:
                    self._note(validator, total)
                self.validator, self.total = validator, total
            except OSError as error:
                raise _failed(self.part, error) from error

    def resume(self, at: int, total: int | None) -> None:
        """Goes on from byte `at`, which is not beyond what is there."""
        with self._lock:
            self._check_open()
            try:
                os.ftruncate(self._fd, at)
                self.size = at
                if self.total is None and total is not None:
                    self._note(self.validator, total)
                    self.total = total
            except OSError as error:
                raise _failed(self.part, error) from error

    def _note(self, validator: str, total: int | None) -> None:
        fresh = self._sidecar + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump({**self._key, "validator": validator, "total": total}, file)
        os.rename(fresh, self._sidecar)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Adds to the end."""
        with self._lock:
            self._check_open()
            try:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        count = os.pwrite(self._fd, view, self.size)
                        self.size += count
                        view = view[count:]
            except OSError as error:
                raise _failed(self.part, error) from error

    def finish(self) -> None:
        """All is there: syncs it and gives it its name."""
        with self._lock:
            self._check_open()
            try:
                os.fsync(self._fd)
                os.rename(self.part, self.path)
                folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._sidecar)
            except OSError as error:
                raise _failed(self.path, error) from error
            fd, self._fd = self._fd, -1
            os.close(fd)

    def close(self) -> None:
        """Gives the lock back; keeps what can be gone on with, and nothing else. Idempotent."""
        with self._lock:
            if self._fd < 0:
                return
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                if self.validator and self.size:
                    os.fsync(fd)
                else:
                    for left in (self._sidecar, self.part):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(left)
            os.close(fd)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise FileError(f"the download into {self.path!r} was stopped")

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


def _locked(part: str) -> int:
    """The descriptor of the .part, with its lock."""
    while True:
        try:
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _failed(part, error, "never_sent") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(part)
            own = os.fstat(fd)
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                return fd
        except FileNotFoundError:
            pass  # the other one has just finished
        except BlockingIOError:
            os.close(fd)
            raise InvalidRequest(f"another download is writing {part!r}") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _key(url: str) -> dict[str, object]:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return {"format": FORMAT, "boot": boot, "url": hashlib.sha256(url.encode()).hexdigest()}


def _failed(path: str, error: OSError, outcome: str = "done") -> FileError:
    made = FileError(f"the file {path!r} cannot be written: {error.strerror}", outcome=outcome)
    made.errno, made.strerror, made.filename = error.errno, error.strerror, path
    return made
