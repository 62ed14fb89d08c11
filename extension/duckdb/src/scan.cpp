#include "scan.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp"
#include "duckdb/common/multi_file/multi_file_reader.hpp"
#include "duckdb/common/multi_file/multi_file_states.hpp"
#include "duckdb/function/partition_stats.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/planner/binder.hpp"
#include "pruning.hpp"

namespace vstore {

using duckdb::ClientContext;
using duckdb::LogicalType;
using duckdb::MultiFileList;
using duckdb::OpenFileInfo;
using duckdb::Value;

namespace {

// The segments of a version that are left, in row order.
class SegmentList : public duckdb::SimpleMultiFileList {
public:
    SegmentList(duckdb::shared_ptr<ScanInfo> info, vector<idx_t> kept)
        : SimpleMultiFileList(Paths(*info, kept)), info(std::move(info)), kept(std::move(kept)) {}

    duckdb::unique_ptr<MultiFileList> ComplexFilterPushdown(ClientContext &, const duckdb::MultiFileOptions &,
                                                            duckdb::MultiFilePushdownInfo &pushdown,
                                                            vector<duckdb::unique_ptr<duckdb::Expression>> &filters)
        const override {
        vector<const Column *> columns;
        for (auto id : pushdown.column_ids) {
            columns.push_back(id < info->version->columns.size() ? &info->version->columns[id] : nullptr);
        }
        vector<idx_t> left = kept;
        string used;
        for (auto &filter : filters) {
            auto count = left.size();
            left.erase(std::remove_if(left.begin(), left.end(),
                                      [&](idx_t at) { return Excludes(*filter, info->segments, at, columns); }),
                       left.end());
            used += left.size() == count ? "" : (used.empty() ? "" : " AND ") + filter->ToString();
        }
        if (left.size() == kept.size()) {
            return nullptr;
        }
        pushdown.extra_info.file_filters += used; // EXPLAIN shows them
        pushdown.extra_info.total_files = info->segments.Size();
        pushdown.extra_info.filtered_files = left.size();
        return duckdb::make_uniq<SegmentList>(info, std::move(left));
    }

    duckdb::unique_ptr<duckdb::NodeStatistics> GetCardinality(ClientContext &) const override {
        idx_t rows = 0;
        for (auto at : kept) {
            rows += info->segments.rows[at];
        }
        return duckdb::make_uniq<duckdb::NodeStatistics>(rows, rows);
    }

    duckdb::unique_ptr<MultiFileList> Copy() const override { return duckdb::make_uniq<SegmentList>(info, kept); }

    duckdb::shared_ptr<ScanInfo> info;
    vector<idx_t> kept;

private:
    // Segments never change, so that nobody has to ask for their length, or whether they are still the same.
    static vector<OpenFileInfo> Paths(const ScanInfo &info, const vector<idx_t> &kept) {
        vector<OpenFileInfo> files;
        bool is_remote = duckdb::FileSystem::IsRemoteFile(info.root);
        for (auto at : kept) {
            OpenFileInfo file(info.root + info.segments.keys[at]);
            if (is_remote) {
                file.extended_info = duckdb::make_shared_ptr<duckdb::ExtendedOpenFileInfo>();
                auto &options = file.extended_info->options;
                options["file_size"] = Value::UBIGINT(info.segments.bytes[at]);
                options["etag"] = Value("");
                options["last_modified"] = Value::TIMESTAMP(duckdb::timestamp_t(0));
                options["validate_external_file_cache"] = Value::BOOLEAN(false);
            }
            files.push_back(std::move(file));
        }
        return files;
    }
};

// Finds columns by their field ids, and knows all of them without opening a file.
class SegmentReader : public duckdb::MultiFileReader {
public:
    explicit SegmentReader(duckdb::shared_ptr<ScanInfo> info) : info(std::move(info)) {}

    static duckdb::unique_ptr<MultiFileReader> Create(const duckdb::TableFunction &function) {
        return duckdb::make_uniq<SegmentReader>(duckdb::shared_ptr_cast<duckdb::TableFunctionInfo, ScanInfo>(
            function.function_info));
    }

    duckdb::shared_ptr<MultiFileList> CreateFileList(ClientContext &, const vector<string> &,
                                                     const duckdb::FileGlobInput &) override {
        vector<idx_t> all(info->segments.Size());
        for (idx_t at = 0; at < all.size(); at++) {
            all[at] = at;
        }
        return duckdb::make_shared_ptr<SegmentList>(info, std::move(all));
    }

    bool Bind(duckdb::MultiFileOptions &options, MultiFileList &, vector<LogicalType> &types, vector<string> &names,
              duckdb::MultiFileReaderBindData &bind_data) override {
        options.auto_detect_hive_partitioning = false;
        options.hive_partitioning = false;
        for (auto &column : info->version->columns) {
            duckdb::MultiFileColumnDefinition definition(column.name, ScannedType(column.arrow));
            definition.identifier = Value::INTEGER(column.id);
            definition.default_expression = duckdb::make_uniq<duckdb::ConstantExpression>(Value(definition.type));
            names.push_back(column.name);
            types.push_back(definition.type);
            bind_data.schema.push_back(std::move(definition));
        }
        bind_data.mapping = duckdb::MultiFileColumnMappingMode::BY_FIELD_ID;
        return true;
    }

    duckdb::unique_ptr<MultiFileReader> Copy() const override { return duckdb::make_uniq<SegmentReader>(info); }

private:
    duckdb::shared_ptr<ScanInfo> info;
};

// Bound data of DuckDB's scan, which a statement that was prepared must not use again: there may be a new version.
duckdb::table_function_bind_t &ParquetBind() {
    static duckdb::table_function_bind_t bind = nullptr;
    return bind;
}

duckdb::unique_ptr<duckdb::FunctionData> BindScan(ClientContext &context, duckdb::TableFunctionBindInput &input,
                                                  vector<LogicalType> &types, vector<string> &names) {
    vector<Value> inputs {Value(input.table_function.name)};
    duckdb::TableFunctionBindInput own(inputs, input.named_parameters, input.input_table_types, input.input_table_names,
                                       input.info, input.binder, input.table_function, input.ref);
    if (input.binder) {
        input.binder->SetAlwaysRequireRebind();
    }
    return ParquetBind()(context, own, types, names);
}

// The documents know how many rows there are, so that count(*) reads none.
vector<duckdb::PartitionStatistics> RowCounts(ClientContext &, duckdb::GetPartitionStatsInput &input) {
    auto &bind_data = input.bind_data->Cast<duckdb::MultiFileBindData>();
    auto &list = static_cast<const SegmentList &>(*bind_data.file_list);
    vector<duckdb::PartitionStatistics> counts;
    idx_t start = 0;
    for (auto at : list.kept) {
        duckdb::PartitionStatistics part;
        part.row_start = start;
        part.count = list.info->segments.rows[at];
        part.count_type = duckdb::CountType::COUNT_EXACT;
        start += part.count;
        counts.push_back(part);
    }
    return counts;
}

} // namespace

duckdb::TableFunction ScanFunction(ClientContext &context, const string &name, duckdb::shared_ptr<ScanInfo> info) {
    auto &catalog = duckdb::Catalog::GetSystemCatalog(context);
    auto &entry = catalog.GetEntry<duckdb::TableFunctionCatalogEntry>(context, DEFAULT_SCHEMA, "parquet_scan");
    auto function = entry.functions.GetFunctionByArguments(context, {LogicalType::VARCHAR});
    ParquetBind() = function.bind;
    function.name = name;
    function.arguments.clear();
    function.bind = BindScan;
    function.get_multi_file_reader = SegmentReader::Create;
    function.function_info = std::move(info);
    function.get_partition_stats = RowCounts;
    function.late_materialization = false;
    function.statistics = nullptr;
    function.statistics_extended = nullptr;
    function.get_row_id_columns = nullptr;
    function.serialize = nullptr;
    function.deserialize = nullptr;
    return function;
}

string ViewQuery(ClientContext &context, Library &library, const Version &version, const string &function) {
    string columns;
    for (idx_t at = 0; at < version.columns.size(); at++) {
        auto column = version.columns[at];
        if (column.is_hidden) {
            continue;
        }
        column.own = library.OwnType(context, version, at);
        auto expression = ColumnExpression(context, column, version.is_mixed, version.where);
        columns += (columns.empty() ? "" : ", ") + expression + " AS " + Quote(column.name);
    }
    if (columns.empty()) {
        throw duckdb::BinderException("version %d of %s has no columns, so there is nothing to query: use read() of "
                                      "duckvstore",
                                      version.number, Shown(version.symbol));
    }
    return "SELECT " + columns + " FROM " + function + "()";
}

} // namespace vstore
