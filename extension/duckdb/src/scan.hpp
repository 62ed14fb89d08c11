// The scan of one version: DuckDB's own scan of Parquet over the segments that a query's filters leave.
#pragma once

#include "duckdb/function/table_function.hpp"
#include "library.hpp"

namespace vstore {

//! What a scan is bound to. It never changes.
struct ScanInfo : public duckdb::TableFunctionInfo {
    VersionPtr version;
    Segments segments;
    //! where the keys of segments are
    string root;
};

//! The table function, without arguments, that scans the columns of a version as they are stored.
duckdb::TableFunction ScanFunction(duckdb::ClientContext &context, const string &name,
                                   duckdb::shared_ptr<ScanInfo> info);

//! The query that shows a version through `function`, which is a call of the above.
string ViewQuery(duckdb::ClientContext &context, Library &library, const Version &version, const string &function);

} // namespace vstore
