"""Request bodies that are not JSON: bytes, files, forms, multipart with files.

Model: what a caller gives (`content=`, `data=`, `files=`) becomes an `Upload`: a content type and a
list of parts for the core, each either ready bytes or (descriptor, offset, length, name) of an open
file. Files are opened here, on the caller's thread, before anything is sent, and read by the engine
while it sends; memory does not depend on their size. Their size is fixed here: one that changes
before it was sent ends the call with a typed error.

    upload = upload_of(files={"file": ("a.wav", Path("a.wav"), "audio/wav")}, data={"model": "x"})
    try: engine.submit(..., parts=upload.parts)
    finally: upload.close()

A file is a path (`os.PathLike`) or an object that is open for binary reading; of the latter what
follows its position is sent, and its position stays. Objects without a descriptor (`io.BytesIO`,
`gzip.open`) are read into memory here. A str is refused where a path may have been meant. So is
what has no size that could be announced: folders, pipes, devices, and the files of /proc and /sys,
whose content is not as long as they say.

Errors: `InvalidRequest`, naming the file, and `InvalidType`. Any thread; nothing is shared.
Source: RFC 7578 (multipart/form-data, section 4.2 for names), WHATWG HTML "Multipart form data" for
how `"`, CR and LF in them are written; RFC 2046, 5.1.1 (boundaries).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sluiceway._config_checks import is_path
from sluiceway.errors import InvalidRequest, InvalidType

Part = bytes | tuple[int, int, int, str]
FORM = "application/x-www-form-urlencoded"
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class Upload:
    """A body for the core. `close` gives the descriptors back, which the core has duplicated."""

    __slots__ = ("_opened", "content_type", "parts")

    def __init__(self) -> None:
        self.content_type = ""
        self.parts: list[Part] = []
        self._opened: list[int] = []

    @property
    def size(self) -> int:
        """How many bytes will be sent."""
        return sum(len(part) if isinstance(part, bytes) else part[2] for part in self.parts)

    def add(self, content: object, what: str) -> None:
        """Bytes, a path or an open file. InvalidRequest, InvalidType."""
        if isinstance(content, bytes | bytearray | memoryview):
            self._add_bytes(bytes(content))
        elif isinstance(content, os.PathLike):
            self._add_path(os.fspath(content))
        elif hasattr(content, "read"):
            self._add_open(content, what)
        elif isinstance(content, str):
            raise InvalidType(
                f"{what} is a str: give pathlib.Path(...) for a file, or .encode() for a text"
            )
        else:
            hint = "; for a JSON body give json=" if isinstance(content, dict | list) else ""
            raise InvalidType(
                f"{what} is a {type(content).__name__}, not bytes, a path or an open file{hint}"
            )

    def close(self) -> None:
        """Closes the files that were opened here."""
        while self._opened:
            os.close(self._opened.pop())

    def _add_bytes(self, content: bytes) -> None:
        if self.parts and isinstance(self.parts[-1], bytes):
            self.parts[-1] += content
        else:
            self.parts.append(content)

    def _add_path(self, given: str | bytes) -> None:
        path = os.fsdecode(given)
        if not is_path(path):
            raise InvalidRequest(f"{path!r} is no path: it holds a NUL or half a character")
        try:
            # A named pipe must not block here.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidRequest(f"the file {path!r} cannot be read: {error.strerror}") from error
        self._opened.append(fd)
        self.parts.append((fd, 0, size_of(fd, repr(path)), printable(path)))

    def _add_open(self, file: Any, what: str) -> None:
        raw = plain_file(file)
        name = getattr(file, "name", "")
        try:
            if raw is not None:
                fd = raw.fileno()
                if not raw.readable():
                    raise InvalidRequest(f'{what} is not open for reading; open it with mode "rb"')
                size = size_of(fd, what)  # before tell(): a pipe has no position
                at = raw.tell()
                if at > size:
                    raise InvalidRequest(f"{what} stands at a position behind its end; seek first")
                shown = printable(name) if isinstance(name, str) else what
                self.parts.append((fd, at, size - at, shown))
                return
            content = file.read()
        except InvalidRequest:  # a ValueError, too
            raise
        except (OSError, ValueError) as error:  # closed, broken
            raise InvalidRequest(f"{what} cannot be read: {error}") from error
        if isinstance(content, str):
            raise InvalidType(f'{what} is open as text; open it with mode "rb"')
        if not isinstance(content, bytes | bytearray | memoryview):
            raise InvalidType(f"{what}: its read() gave a {type(content).__name__}, not bytes")
        self._add_bytes(bytes(content))


def size_of(fd: int, what: str) -> int:
    """The size of an open file, bytes. InvalidRequest for what has none, or another than it says.

    Costs one read of a byte or two, at the end.
    """
    import stat

    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode):
        is_pipe = stat.S_ISFIFO(seen.st_mode) or stat.S_ISSOCK(seen.st_mode)
        kind = "pipe" if is_pipe else "device"
        do = f"a {kind}: read it and give the bytes"
        if stat.S_ISDIR(seen.st_mode):
            do = "a folder: give the files in it one by one"
        raise InvalidRequest(f"{what} is not a regular file but {do}")
    size = seen.st_size
    try:
        is_short = size > 0 and not os.pread(fd, 1, size - 1)
        is_long = bool(os.pread(fd, 1, size))
    except OSError as error:
        raise InvalidRequest(f"{what} cannot be read: {error.strerror}") from error
    again = os.fstat(fd).st_size
    if (is_short or is_long) and again == size:
        raise InvalidRequest(
            f"{what} has more or less in it than the {size} bytes that it says, as files of /proc"
            " and /sys do: read it and give the bytes"
        )
    return again


def printable(name: str) -> str:
    """A file's name for messages: what is no UTF-8 is escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def encoded(text: str, what: str) -> bytes:
    """UTF-8. InvalidRequest for half a character, as in the name of a file that is no UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"{what} is no UTF-8 text (a lone surrogate); a file takes another name as (name, file)"
        ) from None


def plain_file(file: Any) -> Any:
    """The file itself where `file` is nothing but a view of a descriptor's bytes; else None."""
    import io
    import sys

    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        if isinstance(file, tempfile.SpooledTemporaryFile):
            file = file._file
        elif isinstance(file, tempfile._TemporaryFileWrapper):
            file = file.file
    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO):
        return None
    if isinstance(file, io.BufferedRandom | io.BufferedWriter):
        file.flush()
    return file


def upload_of(content: object = None, data: object = None, files: object = None) -> Upload | None:
    """The body that the three arguments make; None for none. At most `data` and `files` together.

    The caller closes it. Where it raises, nothing is left open.
    """
    if content is None and data is None and files is None:
        return None
    if content is not None and (data is not None or files is not None):
        raise InvalidRequest("content goes neither with data nor with files")
    upload = Upload()
    try:
        if content is not None:
            if isinstance(content, str):
                content = encoded(content, "content")
            upload.add(content, "content")
        elif files is None:
            upload.content_type = FORM
            upload.add(_urlencoded(data), "data")
        else:
            _multipart(upload, data, files)
    except BaseException:
        upload.close()
        raise
    return upload


def _urlencoded(data: object) -> bytes:
    from urllib.parse import urlencode

    return urlencode([(encoded(name, "data"), value) for name, value in _fields(data)]).encode()


def _multipart(upload: Upload, data: object, files: object) -> None:
    import secrets

    boundary = "sluiceway-" + secrets.token_hex(16)
    upload.content_type = f"multipart/form-data; boundary={boundary}"
    start, line = f"--{boundary}\r\n", "Content-Disposition: form-data; name="
    for name, value in _fields(data):
        head = f"{start}{line}{quoted(name)}\r\n\r\n"
        upload.add(encoded(head, "data") + value + b"\r\n", "data")
    for name, given in _pairs(files, "files"):
        what = f"files[{name!r}]"
        filename, content, content_type, headers = _file(given, what)
        lines = [line + quoted(name)]
        if filename is not None:
            lines[0] += f"; filename={quoted(filename)}"
        lines += [f"{key}: {value}" for key, value in headers.items()]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        if any("\r" in one or "\n" in one for one in lines):
            raise InvalidRequest(f"{what} has a line end in its headers")
        head = start + "\r\n".join(lines) + "\r\n\r\n"
        upload.add(encoded(head, f"the name or a header of {what}"), what)
        upload.add(content, what)
        upload.add(b"\r\n", what)
    upload.add(f"--{boundary}--\r\n".encode(), "files")


def quoted(name: str) -> str:
    """A field's name or a file's as a part's head holds it."""
    return '"' + name.translate(_ESCAPES) + '"'


def _file(given: Any, what: str) -> tuple[str | None, object, str, Mapping[str, str]]:
    """The filename, content, content type and headers of one file; None: without a filename."""
    content_type: str | None = None
    headers: Any = {}
    if isinstance(given, tuple):
        if not 2 <= len(given) <= 4:
            raise InvalidType(f"{what} is not (filename, content[, content type[, headers]])")
        filename, content = given[0], given[1]
        content_type = given[2] if len(given) > 2 else None
        headers = given[3] if len(given) > 3 else {}
    else:
        content = given
        name = getattr(given, "name", None) if hasattr(given, "read") else given
        filename = "upload"
        if isinstance(name, str | os.PathLike):
            filename = os.path.basename(os.fsdecode(name))
    if not (filename is None or isinstance(filename, str)):
        raise InvalidType(f"the filename of {what} is a {type(filename).__name__}, not a str")
    if not (content_type is None or isinstance(content_type, str)):
        raise InvalidType(f"the content type of {what} is no str")
    if not isinstance(headers, Mapping) or not _all_text(headers):
        raise InvalidType(f"the headers of {what} are no dict of strs")
    if content_type is None and filename is not None:
        import mimetypes

        content_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return filename, content, content_type or "", headers


def _all_text(table: Mapping[Any, Any]) -> bool:
    return all(isinstance(one, str) for pair in table.items() for one in pair)


def _fields(data: object) -> Iterator[tuple[str, bytes]]:
    for name, value in _pairs(data, "data"):
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, bytes):
                yield name, one
            elif isinstance(one, bool):
                yield name, b"true" if one else b"false"
            elif isinstance(one, str | int | float):
                yield name, encoded(str(one), f"data[{name!r}]")
            else:
                kind = type(one).__name__
                raise InvalidType(f"data[{name!r}] is a {kind}, not a str, bytes or a number")


def _pairs(given: object, what: str) -> Iterator[tuple[str, Any]]:
    if given is None:
        return
    pairs = given.items() if isinstance(given, Mapping) else given
    if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes):
        raise InvalidType(f"{what} is a {type(given).__name__}, not a dict or a list of pairs")
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise InvalidType(f"{what} holds something that is no pair of a name and a value")
        yield pair[0], pair[1]
