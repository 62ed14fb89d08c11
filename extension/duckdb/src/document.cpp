#include "document.hpp"

#include <cerrno>
#include <cstdlib>

#include "duckdb/common/types/timestamp.hpp"

using namespace duckdb_yyjson; // NOLINT: the names of a C library

namespace vstore {

// What this reader knows, of what a document may require: FORMAT.md has the meaning of each.
static const char *const FEATURES[] = {"altered_schema", "duckdb_types",     "folded_catalogue", "index_column",
                                       "manifests",      "metadata_types",   "missing_markers",  "mixed_nested",
                                       "mixed_schema",   "segment_parts",    "segments_url",     "shared_labels",
                                       "snapshot_files"};
constexpr int64_t FORMAT_NUMBER = 1;
constexpr idx_t SHOWN_BYTES_MAX = 200;

string Shown(const string &text) {
    string shown;
    for (auto byte : text.substr(0, SHOWN_BYTES_MAX)) {
        shown += static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F ? '?' : byte;
    }
    // A character must not be cut in two.
    while (!shown.empty() && !duckdb::Value::StringIsValid(shown)) {
        shown.pop_back();
    }
    return text.size() > SHOWN_BYTES_MAX ? shown + "…" : shown;
}

void Damaged(const string &where, const string &problem) {
    throw duckdb::InvalidInputException("the document %s is damaged (%s): restore it from a backup, or read another "
                                        "version",
                                        where, Shown(problem));
}

Document::Document(const string &bytes, const char *noun, string where_p) : where(std::move(where_p)), doc(nullptr) {
    if (bytes.size() > DOCUMENT_BYTES_MAX) {
        Damaged(where, "it has " + std::to_string(bytes.size()) + " bytes");
    }
    // Numbers stay text, so that none is rounded and those of any length are seen.
    // NOLINTNEXTLINE: it is not written to without a flag that says so
    doc = yyjson_read_opts(const_cast<char *>(bytes.data()), bytes.size(), YYJSON_READ_NUMBER_AS_RAW, nullptr, nullptr);
    if (!doc) {
        Damaged(where, "it is no JSON");
    }
    try {
        auto root = Root();
        if (!root.IsObject() || root["duckvstore"].Text() != noun) {
            Damaged(where, string("it is no document of a ") + noun);
        }
        auto format = root["format"].Count();
        string unknown;
        for (auto &feature : root["requires"].Items()) {
            auto name = feature.Text();
            bool is_known = false;
            for (auto known : FEATURES) {
                is_known = is_known || name == known;
            }
            unknown += is_known ? "" : (unknown.empty() ? "" : ", ") + name;
        }
        if (format > FORMAT_NUMBER || !unknown.empty()) {
            throw duckdb::NotImplementedException(
                "%s was written in format %d with the features [%s], which this release of the vstore extension does "
                "not know: build a newer one, or read it with a newer duckvstore",
                where, format, Shown(unknown));
        }
    } catch (...) {
        yyjson_doc_free(doc);
        throw;
    }
}

Document::~Document() {
    yyjson_doc_free(doc);
}

Json Document::Root() const {
    return Json(yyjson_doc_get_root(doc), where, "");
}

void Json::Fail(const string &expected) const {
    Damaged(where, (path.empty() ? "it" : path) + " is not " + expected);
}

bool Json::IsNull() const {
    return !value || yyjson_is_null(value);
}

bool Json::IsText() const {
    return yyjson_is_str(value);
}

bool Json::IsObject() const {
    return yyjson_is_obj(value);
}

bool Json::IsArray() const {
    return yyjson_is_arr(value);
}

Json Json::operator[](const char *name) const {
    if (!yyjson_is_obj(value)) {
        Fail("an object");
    }
    return Json(yyjson_obj_get(value, name), where, path.empty() ? name : path + "." + name);
}

bool Json::Has(const char *name) const {
    return yyjson_is_obj(value) && yyjson_obj_get(value, name);
}

vector<Json> Json::Items() const {
    if (!yyjson_is_arr(value)) {
        Fail("a list");
    }
    vector<Json> items;
    items.reserve(yyjson_arr_size(value));
    size_t at, count;
    yyjson_val *item;
    yyjson_arr_foreach(value, at, count, item) {
        items.emplace_back(item, where, path);
    }
    return items;
}

vector<std::pair<string, Json>> Json::Members() const {
    if (!yyjson_is_obj(value)) {
        Fail("an object");
    }
    vector<std::pair<string, Json>> members;
    size_t at, count;
    yyjson_val *name, *item;
    yyjson_obj_foreach(value, at, count, name, item) {
        members.emplace_back(string(yyjson_get_str(name), yyjson_get_len(name)), Json(item, where, path));
    }
    return members;
}

string Json::Text() const {
    if (!yyjson_is_str(value)) {
        Fail("text");
    }
    return string(yyjson_get_str(value), yyjson_get_len(value));
}

string Json::TextOr(const string &otherwise) const {
    return IsNull() ? otherwise : Text();
}

int64_t Json::Integer(int64_t least, int64_t greatest) const {
    auto spelled = yyjson_is_raw(value) ? Spelled() : "";
    errno = 0;
    char *end = nullptr;
    int64_t number = strtoll(spelled.c_str(), &end, 10);
    if (spelled.empty() || *end || errno || number < least || number > greatest) {
        Fail("a whole number in its range");
    }
    return number;
}

bool Json::Bool() const {
    if (!yyjson_is_bool(value)) {
        Fail("true or false");
    }
    return yyjson_get_bool(value);
}

string Json::Spelled() const {
    if (yyjson_is_raw(value)) {
        return string(yyjson_get_raw(value), yyjson_get_len(value));
    }
    return yyjson_is_bool(value) ? (yyjson_get_bool(value) ? "true" : "false") : Text();
}

duckdb::timestamp_t Json::Time() const {
    auto text = Text();
    duckdb::timestamp_t time;
    if (text.size() < 20 || text.size() > 40 || text.back() != 'Z' ||
        duckdb::Timestamp::TryConvertTimestamp(text.c_str(), text.size(), time, true) !=
            duckdb::TimestampCastResult::SUCCESS ||
        !duckdb::Timestamp::IsFinite(time)) {
        Fail("a time in UTC");
    }
    return time;
}

string Json::Dump() const {
    string out;
    Dump(out, value, 0);
    return out;
}

static void DumpText(string &out, const string &text) {
    static const char *const SHORT = "btn?fr";
    out += '"';
    for (auto character : text) {
        auto byte = static_cast<unsigned char>(character);
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += character;
        } else if (byte >= 8 && byte <= 13 && byte != 11) {
            out += '\\';
            out += SHORT[byte - 8];
        } else if (byte < 0x20) {
            out += duckdb::StringUtil::Format("\\u%04x", static_cast<int>(byte));
        } else {
            out += character;
        }
    }
    out += '"';
}

void Json::Dump(string &out, yyjson_val *item, idx_t depth) const {
    if (depth > DEPTH_MAX) {
        Fail("of a depth that can be read");
    }
    size_t at, count;
    yyjson_val *name, *inside;
    if (yyjson_is_str(item)) {
        DumpText(out, string(yyjson_get_str(item), yyjson_get_len(item)));
    } else if (yyjson_is_raw(item)) {
        out += string(yyjson_get_raw(item), yyjson_get_len(item));
    } else if (yyjson_is_bool(item)) {
        out += yyjson_get_bool(item) ? "true" : "false";
    } else if (yyjson_is_arr(item)) {
        out += '[';
        yyjson_arr_foreach(item, at, count, inside) {
            out += at ? ", " : "";
            Dump(out, inside, depth + 1);
        }
        out += ']';
    } else if (yyjson_is_obj(item)) {
        out += '{';
        yyjson_obj_foreach(item, at, count, name, inside) {
            out += at ? ", " : "";
            DumpText(out, string(yyjson_get_str(name), yyjson_get_len(name)));
            out += ": ";
            Dump(out, inside, depth + 1);
        }
        out += '}';
    } else {
        out += "null";
    }
}

} // namespace vstore
