"""Entries into Arrow IPC and Parquet files, with pyarrow where it is installed.

The package itself depends on none: `gw.ledger.arrow()` speaks Arrow's C interface. Writing a file
of the format is pyarrow's job. Bounds: one batch of 65,536 entries at a time beside what
`gw.ledger.arrow()` holds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sluiceway._values import path as path_of
from sluiceway._values import text
from sluiceway.errors import ConfigError, FileError

if TYPE_CHECKING:
    from sluiceway.ledger.view import LedgerView


def write_arrow(ledger: LedgerView, path: str, kind: str, **asked: Any) -> int:
    """Writes `kind` ("arrow" or "parquet") and returns the number of entries. `asked` as for
    `LedgerView.arrow`; ConfigError where pyarrow is missing or OUT is no file."""
    if path == "-":
        raise ConfigError(f"{kind} is no text: name a file in place of -, or export jsonl or csv")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(
            f"writing {kind} needs pyarrow: pip install 'sluiceway[arrow]', or export jsonl or csv"
        ) from None
    text(path_of(path, "OUT"), "OUT")
    count = 0
    beside = f"{path}.{os.getpid()}.part"
    try:
        with pa.RecordBatchReader.from_stream(ledger.arrow(**asked)) as reader:
            if kind == "arrow":
                writer = pa.ipc.new_file(beside, reader.schema)
            else:
                writer = pq.ParquetWriter(beside, reader.schema, compression="zstd")
            with writer:
                for batch in reader:
                    writer.write_batch(batch)
                    count += batch.num_rows
        os.replace(beside, path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
    return count
