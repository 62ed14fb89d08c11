// Writes are refused, with a pointer to what does write.
#pragma once

#include "duckdb.hpp"

namespace vstore {

[[noreturn]] void Refuse();

//! Raises the error of a write if the statement that runs would change `table` of the database `catalog`: of views
//! DuckDB itself would only say that they are no tables.
void RefuseWrites(duckdb::ClientContext &context, const std::string &catalog, const std::string &table);

} // namespace vstore
