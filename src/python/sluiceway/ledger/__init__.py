"""The books as users see them: `gw.ledger`, its reports, exports, imports of bills, and an auditor.

    view.py     gw.ledger: entries, holds, scopes, reports, how doubt ends
    aio.py      the same names for asyncio
    rows.py     what a report returns; instants as people write them
    export.py   JSON Lines and CSV files of the entries
    bill.py     a provider's bill, read from CSV and set against the books
    audit.py    the books checked from an export alone, in plain Python

Model: reading goes through the core, because a second SQLite in the same process would break the
file's locks. audit.py shares no code with the rest, so that a mistake in one is seen by the other.
"""
