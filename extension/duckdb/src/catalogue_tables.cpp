#include "catalogue_tables.hpp"

#include "duckdb/execution/operator/scan/physical_table_scan.hpp"
#include "duckdb/planner/binder.hpp"

namespace vstore {

using duckdb::ClientContext;
using duckdb::LogicalType;
using duckdb::Value;

namespace {

using Row = vector<Value>;
using Rows = vector<Row>;

struct TableColumn {
    const char *name;
    LogicalType type;
};

struct CatalogueInfo : public duckdb::TableFunctionInfo {
    string table;
    std::shared_ptr<Library> library;
};

struct CatalogueState : public duckdb::GlobalTableFunctionState {
    Rows rows;
    idx_t at = 0;
};

const vector<TableColumn> &Columns(const string &table) {
    static const LogicalType TEXT = LogicalType::VARCHAR, NUMBER = LogicalType::BIGINT;
    static const LogicalType TIME = LogicalType::TIMESTAMP_TZ, FLAG = LogicalType::BOOLEAN;
    static const std::map<string, vector<TableColumn>> TABLES = {
        {"symbols",
         {{"symbol", TEXT}, {"version", NUMBER}, {"created_at", TIME}, {"kind", TEXT}, {"author", TEXT},
          {"message", TEXT}, {"metadata", TEXT}, {"row_count", NUMBER}, {"column_count", NUMBER},
          {"segment_count", NUMBER}, {"logical_bytes", NUMBER}, {"stored_bytes", NUMBER}}},
        {"versions",
         {{"symbol", TEXT}, {"version", NUMBER}, {"created_at", TIME}, {"operation", TEXT}, {"kind", TEXT},
          {"author", TEXT}, {"message", TEXT}, {"metadata", TEXT}, {"row_count", NUMBER}, {"column_count", NUMBER},
          {"segment_count", NUMBER}, {"logical_bytes", NUMBER}, {"stored_bytes", NUMBER}, {"new_rows", NUMBER},
          {"new_bytes", NUMBER}, {"parent", NUMBER}, {"deleted", FLAG}, {"write_id", TEXT}, {"transaction", TEXT},
          {"snapshots", LogicalType::LIST(LogicalType::VARCHAR)}}},
        {"segments",
         {{"symbol", TEXT}, {"version", NUMBER}, {"segment", NUMBER}, {"row_start", NUMBER}, {"row_count", NUMBER},
          {"logical_bytes", NUMBER}, {"stored_bytes", NUMBER}, {"sha256", TEXT}, {"key", TEXT}}},
        {"columns",
         {{"symbol", TEXT}, {"version", NUMBER}, {"position", NUMBER}, {"column_name", TEXT}, {"column_type", TEXT},
          {"is_index", FLAG}, {"field_id", NUMBER}}},
        {"snapshots",
         {{"snapshot", TEXT}, {"created_at", TIME}, {"symbol", TEXT}, {"version", NUMBER}, {"author", TEXT},
          {"message", TEXT}, {"metadata", TEXT}}},
    };
    return TABLES.at(table);
}

Value Time(duckdb::timestamp_t time) {
    return Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(time));
}

Value Whole(int64_t number) {
    return Value::BIGINT(number);
}

vector<Snapshot> Snapshots(ClientContext &context, Library &library) {
    vector<Snapshot> found;
    for (auto &name : library.SnapshotNames(context)) {
        Snapshot snapshot;
        try {
            if (library.TryReadSnapshot(context, name, snapshot)) {
                found.push_back(std::move(snapshot));
            }
        } catch (duckdb::Exception &) {
            // It cannot be read: whoever asks for it is told why.
        }
    }
    return found;
}

Rows SymbolRows(ClientContext &context, Library &library) {
    Rows rows;
    for (auto &pair : library.NewestOfAll(context)) {
        auto &v = *pair.second;
        rows.push_back({Value(v.symbol), Whole(v.number), Time(v.created_at), Value(v.kind), v.author, v.message,
                        v.metadata, Whole(v.row_count), Whole(v.Shown().size()), Whole(v.SegmentCount()),
                        Whole(v.logical_bytes), Whole(v.stored_bytes)});
    }
    return rows;
}

Rows VersionRows(ClientContext &context, Library &library) {
    std::map<std::pair<string, int64_t>, vector<Value>> holders;
    for (auto &snapshot : Snapshots(context, library)) {
        for (auto &pair : snapshot.versions) {
            holders[pair].push_back(Value(snapshot.name));
        }
    }
    Rows rows;
    for (auto &version : library.History(context)) {
        auto &v = *version;
        rows.push_back({Value(v.symbol), Whole(v.number), Time(v.created_at), Value(v.operation), Value(v.kind),
                        v.author, v.message, v.metadata, Whole(v.row_count), Whole(v.Shown().size()),
                        Whole(v.SegmentCount()), Whole(v.logical_bytes), Whole(v.stored_bytes), Whole(v.new_rows),
                        Whole(v.new_bytes), v.parent, Value::BOOLEAN(v.IsDeleted()), Value(v.write_id),
                        v.transaction.empty() ? Value() : Value(v.transaction),
                        Value::LIST(LogicalType::VARCHAR, holders[{v.symbol, v.number}])});
    }
    return rows;
}

Rows SegmentRows(ClientContext &context, Library &library) {
    Rows rows;
    for (auto &version : library.History(context)) {
        auto segments = library.AllSegments(context, *version);
        int64_t start = 0;
        for (idx_t at = 0; at < segments.Size(); at++) {
            rows.push_back({Value(version->symbol), Whole(version->number), Whole(at), Whole(start),
                            Whole(segments.rows[at]), Whole(segments.logical_bytes[at]), Whole(segments.bytes[at]),
                            Value(segments.sha256[at]), Value(segments.keys[at])});
            start += segments.rows[at];
        }
    }
    return rows;
}

Rows ColumnRows(ClientContext &context, Library &library) {
    Rows rows;
    for (auto &version : library.History(context)) {
        int64_t position = 0;
        for (idx_t at = 0; at < version->columns.size(); at++) {
            auto &column = version->columns[at];
            if (column.is_hidden) {
                continue;
            }
            auto own = library.OwnType(context, *version, at);
            bool is_index = std::find(version->index.begin(), version->index.end(), column.name) != version->index.end();
            rows.push_back({Value(version->symbol), Whole(version->number), Whole(position++), Value(column.name),
                            Value(own.empty() ? column.type : own), Value::BOOLEAN(is_index), Whole(column.id)});
        }
    }
    return rows;
}

Rows SnapshotRows(ClientContext &context, Library &library) {
    Rows rows;
    for (auto &snapshot : Snapshots(context, library)) {
        auto row = [&](Value symbol, Value version) {
            rows.push_back({Value(snapshot.name), Time(snapshot.created_at), symbol, version, snapshot.author,
                            snapshot.message, snapshot.metadata});
        };
        for (auto &pair : snapshot.versions) {
            row(Value(pair.first), Whole(pair.second));
        }
        if (snapshot.versions.empty()) {
            row(Value(), Value());
        }
    }
    return rows;
}

duckdb::unique_ptr<duckdb::FunctionData> Bind(ClientContext &, duckdb::TableFunctionBindInput &input,
                                              vector<LogicalType> &types, vector<string> &names) {
    if (input.binder) {
        input.binder->SetAlwaysRequireRebind();
    }
    for (auto &column : Columns(input.info->Cast<CatalogueInfo>().table)) {
        names.push_back(column.name);
        types.push_back(column.type);
    }
    auto data = duckdb::make_uniq<duckdb::TableFunctionData>();
    return std::move(data);
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> Init(ClientContext &context, duckdb::TableFunctionInitInput &input) {
    auto &function = input.op->Cast<duckdb::PhysicalTableScan>().function;
    auto &info = function.function_info->Cast<CatalogueInfo>();
    auto state = duckdb::make_uniq<CatalogueState>();
    auto &library = *info.library;
    state->rows = info.table == "symbols"    ? SymbolRows(context, library)
                  : info.table == "versions" ? VersionRows(context, library)
                  : info.table == "segments" ? SegmentRows(context, library)
                  : info.table == "columns"  ? ColumnRows(context, library)
                                             : SnapshotRows(context, library);
    return std::move(state);
}

void Scan(ClientContext &, duckdb::TableFunctionInput &input, duckdb::DataChunk &output) {
    auto &state = input.global_state->Cast<CatalogueState>();
    idx_t count = 0;
    for (; state.at < state.rows.size() && count < STANDARD_VECTOR_SIZE; state.at++, count++) {
        auto &row = state.rows[state.at];
        for (idx_t column = 0; column < row.size(); column++) {
            output.SetValue(column, count, row[column]);
        }
    }
    output.SetCardinality(count);
}

} // namespace

const vector<string> &CatalogueTables() {
    static const vector<string> NAMES = {"columns", "segments", "snapshots", "symbols", "versions"};
    return NAMES;
}

duckdb::TableFunction CatalogueFunction(const string &table, const string &name, std::shared_ptr<Library> library) {
    duckdb::TableFunction function(name, {}, Scan, Bind, Init);
    auto info = duckdb::make_shared_ptr<CatalogueInfo>();
    info->table = table;
    info->library = std::move(library);
    function.function_info = std::move(info);
    return function;
}

} // namespace vstore
