// A JSON document that somebody else wrote: every access checks what is there, and says where it is not.
#pragma once

#include "duckdb.hpp"
#include "yyjson.hpp"

namespace vstore {

using duckdb::idx_t;
using duckdb::string;
using duckdb::vector;

//! Limits on what is read at all.
constexpr idx_t DOCUMENT_BYTES_MAX = 1ULL << 30;
constexpr idx_t DEPTH_MAX = 220;

//! Raises the error for a document that does not say what it must.
[[noreturn]] void Damaged(const string &where, const string &problem);

//! The beginning of what a document says, for a message: without control characters.
string Shown(const string &text);

//! A value in a document. It is valid for as long as its Document.
class Json {
public:
    Json(duckdb_yyjson::yyjson_val *value, const string &where, string path)
        : value(value), where(where), path(std::move(path)) {}

    bool IsNull() const;
    bool IsText() const;
    bool IsObject() const;
    bool IsArray() const;
    //! The member `name`, or null where it is absent.
    Json operator[](const char *name) const;
    bool Has(const char *name) const;
    //! The items of an array.
    vector<Json> Items() const;
    //! The members of an object, in order.
    vector<std::pair<string, Json>> Members() const;
    string Text() const;
    //! Text, or "" for null.
    string TextOr(const string &otherwise) const;
    int64_t Integer(int64_t least, int64_t greatest) const;
    int64_t Count() const { return Integer(0, duckdb::NumericLimits<int64_t>::Maximum()); }
    bool Bool() const;
    //! A number as it is spelled, true, false, or the text; whether it is there is told by IsNull.
    string Spelled() const;
    //! A time in UTC, `2026-11-20T09:30:00.000000Z`, as microseconds.
    duckdb::timestamp_t Time() const;
    //! What this is as JSON, with a space behind each comma and colon.
    string Dump() const;
    [[noreturn]] void Fail(const string &expected) const;

private:
    void Dump(string &out, duckdb_yyjson::yyjson_val *item, idx_t depth) const;

    duckdb_yyjson::yyjson_val *value;
    const string &where;
    string path;
};

//! One document: its envelope was checked, so that the rest can be read.
class Document {
public:
    //! Raises an error for what is no document of `noun`, or one that needs a later release. `where` is for errors.
    Document(const string &bytes, const char *noun, string where);
    ~Document();
    Document(const Document &) = delete;

    Json Root() const;
    const string where;

private:
    duckdb_yyjson::yyjson_doc *doc;
};

} // namespace vstore
