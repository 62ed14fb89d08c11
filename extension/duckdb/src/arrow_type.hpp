// The Arrow schema in a version document: an IPC message, which is a flatbuffer, read with every offset checked.
#pragma once

#include "document.hpp"

namespace vstore {

enum class ArrowKind : uint8_t {
    NULLS,
    BOOLEAN,
    INTEGER,
    FLOAT,
    DECIMAL,
    TEXT,
    BINARY,
    DATE,
    TIME,
    TIMESTAMP,
    DURATION,
    LIST,
    FIXED_LIST,
    STRUCT,
    MAP,
    UNREADABLE,
};

enum class ArrowUnit : uint8_t { SECOND, MILLISECOND, MICROSECOND, NANOSECOND };

//! A field: its name and type. `children` are the fields of a struct, the item of a list, key and value of a map.
struct ArrowField {
    string name;
    ArrowKind kind = ArrowKind::UNREADABLE;
    int32_t bits = 0;
    bool is_signed = false;
    ArrowUnit unit = ArrowUnit::SECOND;
    bool has_zone = false;
    int32_t precision = 0;
    int32_t scale = 0;
    int32_t list_size = 0;
    string extension;
    vector<ArrowField> children;

    bool IsNested() const { return !children.empty(); }
};

//! The fields of the schema in `base64`, of which "" has none. Raises the error of a damaged document.
vector<ArrowField> ReadArrowSchema(const string &base64, const string &where);

} // namespace vstore
