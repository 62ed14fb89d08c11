// The catalogue in SQL: the tables of the schema `vstore`, as `lib.sql` has them.
#pragma once

#include "duckdb/function/table_function.hpp"
#include "library.hpp"

namespace vstore {

//! The names of the tables.
const vector<string> &CatalogueTables();
//! The table function, without arguments, that returns the rows of one of them.
duckdb::TableFunction CatalogueFunction(const string &table, const string &name, std::shared_ptr<Library> library);

} // namespace vstore
