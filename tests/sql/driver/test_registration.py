"""Tables of Python that DuckDB knows for the length of a block."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from duckvstore.sql.driver.instance import registered


@pytest.mark.parametrize("is_before", [True, False])
def test_a_table_is_known_again_after_a_transaction_was_aborted(is_before):
    """DuckDB cannot let go of it then, whether it was made within the transaction or before; the error is told."""
    with duckdb.connect() as cursor:
        if not is_before:
            cursor.execute("BEGIN")
        with pytest.raises(duckdb.Error, match="on purpose"), registered(cursor, "rows", pa.table({"n": [1]})):
            if is_before:
                cursor.execute("BEGIN")
            cursor.execute("SELECT error('on purpose') FROM range(3)").fetchall()
        cursor.execute("ROLLBACK")
        for number in (2, 3):
            with registered(cursor, "rows", pa.table({"n": [number]})):
                assert cursor.execute("FROM rows").fetchall() == [(number,)]
