// Which segments a filter excludes, by the statistics in documents alone: in any doubt a segment stays.
#pragma once

#include "duckdb/common/multi_file/multi_file_list.hpp"
#include "duckdb/planner/expression.hpp"
#include "version.hpp"

namespace vstore {

//! Whether no row of segment `at` can pass `filter`; `columns` are those of the scan, by the position in its output.
bool Excludes(const duckdb::Expression &filter, const Segments &segments, idx_t at,
              const vector<const Column *> &columns);

} // namespace vstore
