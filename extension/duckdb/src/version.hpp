// A version document, checked: what a scan and the catalogue need of it.
#pragma once

#include <map>
#include <memory>

#include "keys.hpp"
#include "types.hpp"

namespace vstore {

//! Bounds of one column, one entry per segment; a null value and -1 mean "not known".
struct Bounds {
    vector<duckdb::Value> low;
    vector<duckdb::Value> high;
    vector<int64_t> nulls;
    vector<int8_t> nan;
};

struct Segments {
    vector<string> keys;
    vector<int64_t> rows;
    vector<int64_t> bytes;
    vector<int64_t> logical_bytes;
    vector<string> sha256;
    //! by field id; the bounds are of the column's scanned type
    std::map<int32_t, Bounds> bounds;

    idx_t Size() const { return keys.size(); }
};

//! A run of segments, or of labels, in an object of its own.
struct Run {
    string key;
    idx_t position = 0;
    int64_t count = 0;
    int64_t row_count = 0;
};

//! Where the labels of an ENUM are: in these runs in order, and behind them `rest`.
struct Version {
    string where;
    string library_id;
    string symbol;
    int64_t number = 0;
    string write_id;
    duckdb::timestamp_t created_at;
    string operation;
    string kind;
    duckdb::Value parent;
    string transaction;
    duckdb::Value author;
    duckdb::Value message;
    duckdb::Value metadata;
    int64_t row_count = 0;
    int64_t logical_bytes = 0;
    int64_t stored_bytes = 0;
    int64_t new_bytes = 0;
    int64_t new_rows = 0;
    bool is_mixed = false;
    vector<Column> columns;
    vector<string> index;
    vector<Run> manifests;
    vector<Run> label_runs;
    //! the columns whose own type is text in a run
    std::map<idx_t, idx_t> own_in_run;
    //! those that stand in the document
    Segments inline_segments;
    idx_t document_bytes = 0;

    bool IsDeleted() const { return kind == "deleted"; }
    vector<Column> Shown() const;
    idx_t SegmentCount() const;
};

//! The version in the document `bytes`, which is at `where`. Raises the error of a damaged or a later one.
std::shared_ptr<Version> ReadVersion(const string &bytes, const string &where);

//! A bound as text of JSON, as a value of the column's type; null where it says nothing that can be compared.
duckdb::Value BoundOf(const string &spelled, const ArrowField &field);

} // namespace vstore
