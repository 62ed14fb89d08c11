"""The calls of ArcticDB's users: the same names, positions and payloads, so that code moves over as it stands.

The tables were taken from ArcticDB 6.28 (``inspect.signature``) and are kept here, so that the tests need it not.
"""

import inspect

import pytest

import duckvstore as vs

# Each method's parameters in ArcticDB's order, as far as a caller may give them by position here.
METHODS = {
    "append": "symbol data metadata prune_previous_versions validate_index index_column",
    "append_batch": "append_payloads prune_previous_versions validate_index",
    "delete": "symbol versions",
    "delete_batch": "delete_requests",
    "delete_data_in_range": "symbol date_range prune_previous_versions",
    "delete_snapshot": "snapshot_name",
    "delete_staged_data": "symbol",
    "finalize_staged_data": (
        "symbol mode prune_previous_versions metadata validate_index delete_staged_data_on_failure stage_results"
    ),
    "get_description": "symbol as_of",
    "get_description_batch": "symbols",
    "get_staged_symbols": "",
    "has_symbol": "symbol as_of",
    "head": "symbol n as_of columns",
    "list_snapshots": "load_metadata",
    "list_symbols": "snapshot_name regex",
    "list_versions": "symbol snapshot latest_only skip_snapshots",
    "prune_previous_versions": "symbol",
    "read": "symbol as_of date_range row_range columns",
    "read_batch": "symbols",
    "read_metadata": "symbol as_of",
    "read_metadata_batch": "symbols",
    "reload_symbol_list": "",
    "sort_and_finalize_staged_data": (
        "symbol mode prune_previous_versions metadata delete_staged_data_on_failure stage_results"
    ),
    "snapshot": "snapshot_name metadata skip_symbols versions",
    "stage": "symbol data validate_index sort_on_index sort_columns index_column",
    "tail": "symbol n as_of columns",
    "update": "symbol data metadata upsert date_range prune_previous_versions index_column",
    "update_batch": "update_payloads upsert prune_previous_versions",
    "write": "symbol data metadata prune_previous_versions",
    "write_batch": "payloads prune_previous_versions validate_index",
    "write_metadata": "symbol metadata prune_previous_versions",
    "write_metadata_batch": "write_metadata_payloads prune_previous_versions",
    "write_pickle": "symbol data metadata prune_previous_versions",
    "write_pickle_batch": "payloads prune_previous_versions",
}
BY_NAME = {
    "head": "output_format",
    "read": "output_format",
    "tail": "output_format",
    "write": "validate_index",
}
STORE = {
    "create_library": "name",
    "delete_library": "name",
    "get_library": "name create_if_missing",
    "has_library": "name",
    "list_libraries": "",
}
PAYLOADS = {
    "DeleteRequest": "symbol version_ids",
    "ReadInfoRequest": "symbol as_of",
    "ReadRequest": "symbol as_of date_range row_range columns",
    "UpdatePayload": "symbol data metadata date_range index_column",
    "WriteMetadataPayload": "symbol metadata",
    "WritePayload": "symbol data metadata index_column",
}
RETURNED = {
    "DataError": "symbol exception_string",
    "SymbolDescription": "columns index row_count last_update_time date_range sorted",
    "SymbolVersion": "symbol version",
    "VersionInfo": "date deleted snapshots",
    "VersionedItem": "symbol library data version metadata timestamp",
}


def positional(call):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(call).parameters.items() if one.kind in kinds and name != "self"]


@pytest.mark.parametrize(("owner", "method", "names"), [
    *((vs.Library, method, names) for method, names in METHODS.items()),
    *((vs.Store, method, names) for method, names in STORE.items()),
])  # fmt: skip
def test_parameters_stand_in_the_order_of_the_peer(owner, method, names):
    """What follows them is ours, or given by name alone."""
    own = positional(getattr(owner, method))
    assert own[: len(names.split())] == names.split()
    assert own[len(names.split()) :] in ([], ["metadata"])  # list_symbols(metadata=) is ours, at the end


@pytest.mark.parametrize(("method", "names"), BY_NAME.items())
def test_parameters_that_come_by_name(method, names):
    assert set(names.split()) <= set(inspect.signature(getattr(vs.Library, method)).parameters)


@pytest.mark.parametrize(("payload", "names"), PAYLOADS.items())
def test_payloads_take_what_the_peer_s_take(payload, names):
    assert positional(getattr(vs, payload)) == names.split()


@pytest.mark.parametrize(("returned", "names"), RETURNED.items())
def test_what_comes_back_has_the_peer_s_attributes(returned, names):
    own = getattr(vs, returned)
    assert all(hasattr(own, name) or name in own.__annotations__ for name in names.split())


def test_the_names_of_formats_and_modes():
    assert [one.name for one in vs.OutputFormat] == ["PANDAS", "PYARROW", "POLARS"]
    assert [one.name for one in vs.StagedDataFinalizeMethod] == ["WRITE", "APPEND"]
