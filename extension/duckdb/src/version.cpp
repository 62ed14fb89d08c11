#include "version.hpp"

#include <set>

namespace vstore {

using duckdb::LogicalTypeId;
using duckdb::Value;

vector<Column> Version::Shown() const {
    vector<Column> shown;
    for (auto &column : columns) {
        if (!column.is_hidden) {
            shown.push_back(column);
        }
    }
    return shown;
}

idx_t Version::SegmentCount() const {
    auto count = inline_segments.Size();
    for (auto &manifest : manifests) {
        count += manifest.count;
    }
    return count;
}

Value BoundOf(const string &spelled, const ArrowField &field) {
    auto type = ScannedType(field);
    Value found;
    string error;
    switch (type.id()) {
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_TZ:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIME:
    case LogicalTypeId::DATE: {
        if (!Value(spelled).DefaultTryCastAs(duckdb::LogicalType::BIGINT, found, &error)) {
            return Value();
        }
        auto ticks = found.GetValue<int64_t>();
        if (type.id() == LogicalTypeId::TIMESTAMP && !field.has_zone && field.unit == ArrowUnit::MICROSECOND) {
            return Value::TIMESTAMP(duckdb::timestamp_t(ticks));
        }
        if (type.id() == LogicalTypeId::TIMESTAMP_NS) {
            return Value::TIMESTAMPNS(duckdb::timestamp_ns_t(ticks));
        }
        if (type.id() == LogicalTypeId::TIMESTAMP_TZ && field.unit == ArrowUnit::MICROSECOND) {
            return Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(ticks));
        }
        return Value();
    }
    case LogicalTypeId::BOOLEAN:
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::SMALLINT:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::UTINYINT:
    case LogicalTypeId::USMALLINT:
    case LogicalTypeId::UINTEGER:
    case LogicalTypeId::UBIGINT:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
    case LogicalTypeId::DECIMAL:
        return Value(spelled).DefaultTryCastAs(type, found, &error, true) ? found : Value();
    case LogicalTypeId::VARCHAR:
        return field.kind == ArrowKind::TEXT && field.extension.empty() ? Value(spelled) : Value();
    default:
        return Value();
    }
}

static Value TextOrNull(const Json &json) {
    return json.IsNull() ? Value() : Value(json.Text());
}

static vector<Run> ReadRuns(const Json &lists, const char *count_name, bool of_segments) {
    vector<Run> runs;
    auto keys = lists["key"].Items(), counts = lists[count_name].Items();
    auto positions = of_segments ? lists["position"].Items() : counts;
    auto rows = of_segments ? lists["row_count"].Items() : counts;
    if (keys.size() != counts.size() || keys.size() != positions.size() || keys.size() != rows.size()) {
        lists.Fail("of lists of one length");
    }
    for (idx_t at = 0; at < keys.size(); at++) {
        Run run;
        run.key = keys[at].Text();
        run.count = counts[at].Integer(1, 1 << 28);
        if (!IsNamedKey(run.key, "manifests")) {
            keys[at].Fail("the key of a manifest");
        }
        if (of_segments) {
            run.position = positions[at].Integer(runs.empty() ? 0 : runs.back().position, 1 << 28);
            run.row_count = rows[at].Count();
        }
        runs.push_back(std::move(run));
    }
    return runs;
}

static void ReadColumns(Version &version, const Json &schema) {
    auto fields = ReadArrowSchema(schema["arrow"].Text(), version.where);
    auto columns = schema["columns"].Items();
    if (fields.size() != columns.size()) {
        Damaged(version.where, "its columns are others than those of its Arrow schema");
    }
    std::set<string> names;
    std::set<int32_t> ids;
    for (idx_t at = 0; at < columns.size(); at++) {
        Column column;
        column.name = columns[at]["name"].Text();
        column.id = static_cast<int32_t>(columns[at]["id"].Integer(1, duckdb::NumericLimits<int32_t>::Maximum()));
        column.arrow = std::move(fields[at]);
        column.type = columns[at]["type"].Text();
        auto own = columns[at]["duckdb"];
        if (own.IsObject()) {
            auto runs = own["$runs"].Items();
            if (runs.size() != 1 || !own["rest"].Text().empty()) {
                own.Fail("the text of one run");
            }
            version.own_in_run[at] = runs[0].Integer(0, static_cast<int64_t>(version.label_runs.size()) - 1);
        } else {
            column.own = own.TextOr("");
        }
        bool is_new = names.insert(duckdb::StringUtil::Lower(column.name)).second && ids.insert(column.id).second;
        if (column.name.empty() || column.name != column.arrow.name || !is_new ||
            column.name.find('\0') != string::npos) {
            columns[at].Fail("a column of its Arrow schema, with a name and an id of its own");
        }
        version.columns.push_back(std::move(column));
    }
    for (auto &name : schema["index"].Items()) {
        version.index.push_back(name.Text());
    }
    auto value = schema["value"];
    if (value.Has("markers")) {
        std::set<string> codes;
        for (auto &pair : value["markers"].Members()) {
            codes.insert(pair.second.Spelled());
        }
        for (auto &column : version.columns) {
            column.is_hidden = codes.count(std::to_string(column.id)) != 0;
        }
    }
    version.is_mixed = schema.Has("mixed") && !schema["mixed"].IsNull() && schema["mixed"].Bool();
}

static void ReadStatistics(Version &version, const Json &statistics) {
    std::map<string, const Column *> by_id;
    for (auto &column : version.columns) {
        by_id[std::to_string(column.id)] = &column;
    }
    auto count = version.inline_segments.Size();
    for (auto &pair : statistics.Members()) {
        auto low = pair.second["min"].Items(), high = pair.second["max"].Items();
        auto nulls = pair.second["nulls"].Items(), nan = pair.second["nan"].Items();
        if (low.size() != count || high.size() != count || nulls.size() != count || nan.size() != count) {
            pair.second.Fail("of lists of one length");
        }
        auto found = by_id.find(pair.first);
        if (found == by_id.end()) {
            continue;
        }
        auto &column = *found->second;
        Bounds bounds;
        for (idx_t at = 0; at < count; at++) {
            bounds.low.push_back(low[at].IsNull() ? Value() : BoundOf(low[at].Spelled(), column.arrow));
            bounds.high.push_back(high[at].IsNull() ? Value() : BoundOf(high[at].Spelled(), column.arrow));
            bounds.nulls.push_back(nulls[at].IsNull() ? -1 : nulls[at].Count());
            bounds.nan.push_back(nan[at].IsNull() ? -1 : nan[at].Bool());
        }
        version.inline_segments.bounds[column.id] = std::move(bounds);
    }
}

static void ReadSegments(Version &version, const Json &lists) {
    auto &segments = version.inline_segments;
    auto keys = lists["key"].Items(), rows = lists["rows"].Items(), bytes = lists["bytes"].Items();
    auto logical = lists["logical_bytes"].Items(), digests = lists["sha256"].Items();
    if (keys.size() != rows.size() || keys.size() != bytes.size() || keys.size() != logical.size() ||
        keys.size() != digests.size()) {
        lists.Fail("of lists of one length");
    }
    for (idx_t at = 0; at < keys.size(); at++) {
        segments.keys.push_back(keys[at].Text());
        segments.rows.push_back(rows[at].Count());
        segments.bytes.push_back(bytes[at].Count());
        segments.logical_bytes.push_back(logical[at].Count());
        segments.sha256.push_back(digests[at].Text());
        if (!IsNamedKey(segments.keys.back(), "segments")) {
            keys[at].Fail("the key of a segment");
        }
    }
    ReadStatistics(version, lists["statistics"]);
}

static void CheckRows(const Version &version) {
    duckdb::hugeint_t rows = 0;
    for (auto count : version.inline_segments.rows) {
        rows += duckdb::hugeint_t(count);
    }
    for (auto &manifest : version.manifests) {
        rows += duckdb::hugeint_t(manifest.row_count);
        if (manifest.position > version.inline_segments.Size()) {
            Damaged(version.where, "a manifest stands behind its segments");
        }
    }
    if (!version.columns.empty() && rows != duckdb::hugeint_t(version.row_count)) {
        Damaged(version.where, "its segments have other rows than row_count");
    }
}

std::shared_ptr<Version> ReadVersion(const string &bytes, const string &where) {
    Document document(bytes, "version", where);
    auto root = document.Root();
    auto version = std::make_shared<Version>();
    version->where = where;
    version->document_bytes = bytes.size();
    version->library_id = root["library_id"].Text();
    version->symbol = root["symbol"].Text();
    version->number = root["version"].Integer(0, VERSION_NUMBER_MAX);
    version->write_id = root["write_id"].Text();
    version->created_at = root["created_at"].Time();
    version->operation = root["operation"].Text();
    version->kind = root["kind"].Text();
    version->parent = root["parent"].IsNull() ? Value() : Value::BIGINT(root["parent"].Integer(0, VERSION_NUMBER_MAX));
    version->transaction = root["transaction"].TextOr("");
    version->author = TextOrNull(root["author"]);
    version->message = TextOrNull(root["message"]);
    version->metadata = root["metadata"].IsNull() ? Value() : Value(root["metadata"].Dump());
    version->row_count = root["row_count"].Count();
    version->logical_bytes = root["logical_bytes"].Count();
    version->stored_bytes = root["stored_bytes"].Count();
    version->new_bytes = root["new_bytes"].Count();
    version->new_rows = root["new_rows"].Count();
    if (!version->transaction.empty() && !IsIdentity(version->transaction)) {
        root["transaction"].Fail("the id of a transaction");
    }
    if (root.Has("label_runs")) {
        version->label_runs = ReadRuns(root["label_runs"], "count", false);
    }
    if (root.Has("manifests")) {
        version->manifests = ReadRuns(root["manifests"], "segment_count", true);
    }
    ReadColumns(*version, root["schema"]);
    ReadSegments(*version, root["segments"]);
    CheckRows(*version);
    return version;
}

} // namespace vstore
