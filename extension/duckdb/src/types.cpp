#include "types.hpp"

#include "duckdb/common/extra_type_info.hpp"

namespace vstore {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;

constexpr int32_t DECIMAL_DIGITS_MAX = 38;
constexpr idx_t TYPE_NESTED_MAX = 100;

string Quote(const string &name) {
    return "\"" + duckdb::StringUtil::Replace(name, "\"", "\"\"") + "\"";
}

string Literal(const string &text) {
    return "'" + duckdb::StringUtil::Replace(text, "'", "''") + "'";
}

static LogicalType WholeType(const ArrowField &field) {
    switch (field.bits) {
    case 8:
        return field.is_signed ? LogicalType::TINYINT : LogicalType::UTINYINT;
    case 16:
        return field.is_signed ? LogicalType::SMALLINT : LogicalType::USMALLINT;
    case 32:
        return field.is_signed ? LogicalType::INTEGER : LogicalType::UINTEGER;
    default:
        return field.is_signed ? LogicalType::BIGINT : LogicalType::UBIGINT;
    }
}

static LogicalType NestedType(const ArrowField &field, LogicalType (*of)(const ArrowField &)) {
    if (field.kind == ArrowKind::MAP) {
        return LogicalType::MAP(of(field.children[0]), of(field.children[1]));
    }
    if (field.kind == ArrowKind::STRUCT) {
        duckdb::child_list_t<LogicalType> members;
        for (auto &child : field.children) {
            members.emplace_back(child.name, of(child));
        }
        return LogicalType::STRUCT(std::move(members));
    }
    return LogicalType::LIST(of(field.children[0]));
}

//! What the Arrow column is in DuckDB.
static LogicalType ShownType(const ArrowField &field) {
    if (field.extension == "arrow.uuid") {
        return LogicalType::UUID;
    }
    if (field.extension == "arrow.json") {
        return LogicalType::JSON();
    }
    switch (field.kind) {
    case ArrowKind::NULLS:
        return LogicalType::SQLNULL;
    case ArrowKind::BOOLEAN:
        return LogicalType::BOOLEAN;
    case ArrowKind::INTEGER:
        return WholeType(field);
    case ArrowKind::FLOAT:
        return field.bits == 64 ? LogicalType::DOUBLE : LogicalType::FLOAT;
    case ArrowKind::DECIMAL: {
        auto digits = std::max(1, std::min(field.precision, DECIMAL_DIGITS_MAX));
        return LogicalType::DECIMAL(digits, std::max(0, std::min(field.scale, digits)));
    }
    case ArrowKind::TEXT:
        return LogicalType::VARCHAR;
    case ArrowKind::DATE:
        return LogicalType::DATE;
    case ArrowKind::TIME:
        return field.unit == ArrowUnit::NANOSECOND ? LogicalType::TIME_NS : LogicalType::TIME;
    case ArrowKind::TIMESTAMP: {
        static const LogicalTypeId IDS[] = {LogicalTypeId::TIMESTAMP_SEC, LogicalTypeId::TIMESTAMP_MS,
                                            LogicalTypeId::TIMESTAMP, LogicalTypeId::TIMESTAMP_NS};
        return field.has_zone ? LogicalType::TIMESTAMP_TZ : LogicalType(IDS[static_cast<idx_t>(field.unit)]);
    }
    case ArrowKind::DURATION:
        return LogicalType::INTERVAL;
    case ArrowKind::FIXED_LIST:
        return field.list_size > 0 ? LogicalType::ARRAY(ShownType(field.children[0]), field.list_size)
                                   : LogicalType::LIST(ShownType(field.children[0]));
    case ArrowKind::LIST:
    case ArrowKind::STRUCT:
    case ArrowKind::MAP:
        return NestedType(field, ShownType);
    default:
        return LogicalType::BLOB;
    }
}

LogicalType ScannedType(const ArrowField &field) {
    if (!field.extension.empty()) {
        return ShownType(field);
    }
    switch (field.kind) {
    case ArrowKind::TIMESTAMP:
        return !field.has_zone && field.unit < ArrowUnit::MICROSECOND ? LogicalType::TIMESTAMP : ShownType(field);
    case ArrowKind::TIME: // a TIME that has no cast to TIME_NS: through text
        return field.unit == ArrowUnit::NANOSECOND ? LogicalType::VARCHAR : LogicalType::TIME;
    case ArrowKind::DURATION:
        return LogicalType::BIGINT;
    case ArrowKind::DECIMAL:
        return field.precision > DECIMAL_DIGITS_MAX ? LogicalType::DOUBLE : ShownType(field);
    case ArrowKind::FIXED_LIST:
    case ArrowKind::LIST:
    case ArrowKind::STRUCT:
    case ArrowKind::MAP:
        return NestedType(field, ScannedType);
    default:
        return ShownType(field);
    }
}

static string Each(const string &values, const string &item, const string &expression) {
    return expression.empty() ? values : "list_transform(" + values + ", lambda " + item + ": " + expression + ")";
}

static string Packed(const string &value, const vector<std::pair<string, string>> &fields) {
    string packed;
    for (auto &field : fields) {
        packed += (packed.empty() ? "" : ", ") + Quote(field.first) + " := " + field.second;
    }
    return "CASE WHEN " + value + " IS NULL THEN NULL ELSE struct_pack(" + packed + ") END";
}

//! `value` with what no cast can mend made right; "" where there is nothing of the kind.
static string Converted(const string &value, const ArrowField &field, idx_t depth) {
    auto item = "item_" + std::to_string(depth);
    switch (field.kind) {
    case ArrowKind::TIME:
        return field.unit == ArrowUnit::NANOSECOND ? "CAST(" + value + " AS TIME_NS)" : "";
    case ArrowKind::DURATION: {
        static const char *const FACTORS[] = {" * 1000000", " * 1000", "", " // 1000"};
        return "to_microseconds(" + value + FACTORS[static_cast<idx_t>(field.unit)] + ")";
    }
    case ArrowKind::DECIMAL: {
        if (field.precision <= DECIMAL_DIGITS_MAX) {
            return "";
        }
        auto problem = "a decimal of " + std::to_string(field.precision) +
                       " digits is wider than the 38 of SQL: use read() of duckvstore";
        return "CAST(CASE WHEN " + value + " IS NULL THEN NULL ELSE error(" + Literal(problem) + ") END AS " +
               ShownType(field).ToString() + ")";
    }
    case ArrowKind::STRUCT: {
        vector<std::pair<string, string>> fields;
        bool is_any = false;
        for (auto &child : field.children) {
            auto member = "struct_extract(" + value + ", " + Literal(child.name) + ")";
            auto found = Converted(member, child, depth);
            is_any = is_any || !found.empty();
            fields.emplace_back(child.name, found.empty() ? member : found);
        }
        return is_any ? Packed(value, fields) : "";
    }
    case ArrowKind::MAP: {
        auto keys = Converted(item, field.children[0], depth + 1), values = Converted(item, field.children[1], depth + 1);
        if (keys.empty() && values.empty()) {
            return "";
        }
        return "CASE WHEN " + value + " IS NULL THEN NULL ELSE map(" + Each("map_keys(" + value + ")", item, keys) +
               ", " + Each("map_values(" + value + ")", item, values) + ") END";
    }
    case ArrowKind::LIST:
    case ArrowKind::FIXED_LIST: {
        auto found = Converted(item, field.children[0], depth + 1);
        return found.empty() ? "" : Each(value, item, found);
    }
    default:
        return "";
    }
}

static bool NeedsCast(const ArrowField &field) {
    if (field.kind == ArrowKind::FIXED_LIST ||
        (field.kind == ArrowKind::TIMESTAMP && !field.has_zone && field.unit < ArrowUnit::MICROSECOND)) {
        return true;
    }
    for (auto &child : field.children) {
        if (NeedsCast(child)) {
            return true;
        }
    }
    return false;
}

// What carries a type of DuckDB, to that type. These are the words of FORMAT.md, Version, `duckdb`.

static string TagOf(const LogicalType &type) {
    duckdb::case_insensitive_set_t taken;
    auto count = duckdb::UnionType::GetMemberCount(type);
    for (idx_t member = 0; member < count; member++) {
        taken.insert(duckdb::UnionType::GetMemberName(type, member));
    }
    string tag = "tag";
    for (idx_t at = 0; taken.count(tag); at++) {
        tag = "tag_" + std::to_string(at);
    }
    return tag;
}

static string Decoded(const string &value, const LogicalType &type, idx_t depth);

static string Cast(const string &value, const LogicalType &type, idx_t depth) {
    auto found = Decoded(value, type, depth);
    return "CAST(" + (found.empty() ? value : found) + " AS " + type.ToString() + ")";
}

static string DecodedUnion(const string &value, const LogicalType &type, idx_t depth) {
    auto cases = "CASE struct_extract(" + value + ", " + Literal(TagOf(type)) + ")";
    for (idx_t at = 0; at < duckdb::UnionType::GetMemberCount(type); at++) {
        auto &name = duckdb::UnionType::GetMemberName(type, at);
        auto member = Cast("struct_extract(" + value + ", " + Literal(name) + ")",
                           duckdb::UnionType::GetMemberType(type, at), depth);
        cases += " WHEN " + Literal(name) + " THEN CAST(union_value(" + Quote(name) + " := " + member + ") AS " +
                 type.ToString() + ")";
    }
    return cases + " END";
}

//! `value`, in its carrier, with what no cast to `type` can do made right; "" where nothing has to be.
static string Decoded(const string &value, const LogicalType &type, idx_t depth) {
    auto item = "item_" + std::to_string(depth);
    switch (type.id()) {
    case LogicalTypeId::INTERVAL:
        return "(to_months(struct_extract(" + value + ", 'months')) + to_days(struct_extract(" + value +
               ", 'days')) + to_microseconds(struct_extract(" + value + ", 'micros')))";
    case LogicalTypeId::GEOMETRY:
        return "ST_GeomFromWKB(" + value + ")";
    case LogicalTypeId::UNION:
        return DecodedUnion(value, type, depth);
    case LogicalTypeId::STRUCT: {
        vector<std::pair<string, string>> fields;
        bool is_any = false;
        for (auto &child : duckdb::StructType::GetChildTypes(type)) {
            auto member = "struct_extract(" + value + ", " + Literal(child.first) + ")";
            auto found = Decoded(member, child.second, depth);
            is_any = is_any || !found.empty();
            fields.emplace_back(child.first, found.empty() ? member : found);
        }
        return is_any ? Packed(value, fields) : "";
    }
    case LogicalTypeId::MAP: {
        auto keys = Decoded(item, duckdb::MapType::KeyType(type), depth + 1);
        auto values = Decoded(item, duckdb::MapType::ValueType(type), depth + 1);
        if (keys.empty() && values.empty()) {
            return "";
        }
        return "CASE WHEN " + value + " IS NULL THEN NULL ELSE map(" + Each("map_keys(" + value + ")", item, keys) +
               ", " + Each("map_values(" + value + ")", item, values) + ") END";
    }
    case LogicalTypeId::LIST:
    case LogicalTypeId::ARRAY: {
        auto &inner = type.id() == LogicalTypeId::LIST ? duckdb::ListType::GetChildType(type)
                                                       : duckdb::ArrayType::GetChildType(type);
        auto found = Decoded(item, inner, depth + 1);
        return found.empty() ? "" : Each(value, item, found);
    }
    default:
        return "";
    }
}

static bool IsStorable(const LogicalType &type) {
    switch (type.id()) {
    case LogicalTypeId::INVALID:
    case LogicalTypeId::UNKNOWN:
    case LogicalTypeId::UNBOUND:
    case LogicalTypeId::ANY:
    case LogicalTypeId::VARIANT:
    case LogicalTypeId::AGGREGATE_STATE:
        return false;
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::UNION:
        for (auto &child : duckdb::StructType::GetChildTypes(type)) {
            if (!IsStorable(child.second)) {
                return false;
            }
        }
        return true;
    case LogicalTypeId::LIST:
        return IsStorable(duckdb::ListType::GetChildType(type));
    case LogicalTypeId::ARRAY:
        return IsStorable(duckdb::ArrayType::GetChildType(type));
    case LogicalTypeId::MAP:
        return IsStorable(duckdb::MapType::KeyType(type)) && IsStorable(duckdb::MapType::ValueType(type));
    default:
        return true;
    }
}

//! DuckDB's own type of a column. What a document says is read as a type and becomes SQL in DuckDB's words alone.
static LogicalType OwnType(duckdb::ClientContext &context, const Column &column, const string &where) {
    idx_t depth = 0;
    for (auto character : column.own) {
        depth += character == '(' || character == '[' ? 1 : 0; // of labels too, of which there are few
        if (depth > TYPE_NESTED_MAX && column.own.compare(0, 5, "ENUM(") != 0) {
            Damaged(where, "the type of column " + column.name + " is too deep");
        }
    }
    try {
        auto type = duckdb::TransformStringToLogicalType(column.own, context);
        if (IsStorable(type)) {
            return type;
        }
    } catch (std::exception &) {
        // said below
    }
    Damaged(where, "the type of column " + column.name + " is none that is stored: " + column.own);
}

string ColumnExpression(duckdb::ClientContext &context, const Column &column, bool is_mixed, const string &where) {
    auto name = Quote(column.name);
    auto &field = column.arrow;
    auto found = Converted(name, field, 0);
    if (NeedsCast(field)) {
        found = "CAST(" + (found.empty() ? name : found) + " AS " + ShownType(field).ToString() + ")";
    }
    // Where a file has whole numbers, DuckDB 1.5 rounds what a filter compares them with: it filters afterwards.
    bool is_taken_apart =
        (field.kind == ArrowKind::FLOAT && field.bits == 64) || field.kind == ArrowKind::DECIMAL || field.IsNested();
    if (found.empty() && is_mixed && is_taken_apart) {
        found = "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + name + " END";
    }
    if (!column.own.empty()) {
        found = Cast(found.empty() ? name : found, OwnType(context, column, where), 0);
    }
    return found.empty() ? name : found;
}

} // namespace vstore
