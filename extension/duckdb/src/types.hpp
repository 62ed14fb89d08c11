// DuckDB's types for stored columns, and the SQL that gives a column of a segment its type: what `lib.sql` shows.
#pragma once

#include "arrow_type.hpp"

namespace vstore {

string Quote(const string &name);
string Literal(const string &text);

//! A stored column.
struct Column {
    string name;
    int32_t id = 0;
    ArrowField arrow;
    //! the Arrow type in words, for people
    string type;
    //! DuckDB's own type in its words, where the stored type only carries it; "" elsewhere
    string own;
    //! whether it tells missing rows apart, which no query sees
    bool is_hidden = false;
};

//! The type in which a scan of Parquet takes a column.
duckdb::LogicalType ScannedType(const ArrowField &field);

//! The expression that gives the scanned column its type; `is_mixed`: segments may have it in narrower types.
//! Raises an error for a type that is none.
string ColumnExpression(duckdb::ClientContext &context, const Column &column, bool is_mixed, const string &where);

} // namespace vstore
