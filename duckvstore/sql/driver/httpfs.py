"""DuckDB's extension httpfs, which reads S3: found on this machine, or from the network.

Nothing of a user's home is written except by DuckDB's own INSTALL.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from duckvstore.errors import Unsupported
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.syntax.literals import literal

if TYPE_CHECKING:
    import duckdb


def load(instance: duckdb.DuckDBPyConnection) -> None:
    """Load the extension that reads S3: an installed one, the wheel's, or (from the network) a fresh one.

    Raises Unsupported with all three remedies.
    """
    import duckdb

    if load_local(instance) is None:
        return
    try:
        instance.execute("INSTALL httpfs")
        instance.execute("LOAD httpfs")
    except duckdb.Error as error:
        reason = error
    else:
        return
    last = duckdb_errors.take_apart(reason).message.partition("\n")[0]
    raise Unsupported(
        f"DuckDB {duckdb.__version__} needs its extension httpfs to scan S3, and it cannot be loaded ({last}). One of "
        f"these helps: run INSTALL httpfs in DuckDB where there is a network; pip install duckdb-extension-httpfs=="
        f"{duckdb.__version__}; or put httpfs.duckdb_extension under ~/.duckdb/extensions/v{duckdb.__version__}/ "
        "by hand"
    ) from reason


def load_local(instance: duckdb.DuckDBPyConnection) -> duckdb.Error | None:
    """Load httpfs if it is on this machine; return None, or why it could not be loaded."""
    import duckdb

    candidates = ["LOAD httpfs"]
    wheel = of_wheel(duckdb.__version__)
    if wheel is not None:
        candidates.append(f"LOAD {literal(str(wheel))}")
    reason: duckdb.Error | None = None
    for statement in candidates:
        try:
            instance.execute(statement)
        except duckdb.Error as error:
            reason = error
        else:
            return None
    return reason


def of_wheel(duckdb_version: str) -> Path | None:
    """Return the extension's file in the wheel ``duckdb-extension-httpfs`` of the same release, if installed.

    The wheel is not imported: its own import function would write under the user's home.
    """
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "extensions" / f"v{duckdb_version}" / "httpfs.duckdb_extension"
        if path.is_file():
            return path
    return None
