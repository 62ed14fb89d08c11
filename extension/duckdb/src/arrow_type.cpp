#include "arrow_type.hpp"

#include <cstring>

#include "duckdb/common/types/blob.hpp"

namespace vstore {

constexpr idx_t FIELDS_MAX = 1 << 20;
constexpr idx_t NESTED_MAX = 100;

namespace {

// A flatbuffer of which nothing is believed: whatever lies outside of it is an error.
class Buffer {
public:
    Buffer(const string &bytes, const string &where) : bytes(bytes), where(where) {}

    template <class T> T At(idx_t place) const {
        if (place > bytes.size() || bytes.size() - place < sizeof(T)) {
            Fail();
        }
        T value;
        memcpy(&value, bytes.data() + place, sizeof(T));
        return value;
    }

    //! Where the offset at `place` leads.
    idx_t Follow(idx_t place) const { return place + At<uint32_t>(place); }

    string Text(idx_t place) const {
        auto length = At<uint32_t>(place);
        if (bytes.size() - place - 4 < length) {
            Fail();
        }
        return bytes.substr(place + 4, length);
    }

    [[noreturn]] void Fail() const { Damaged(where, "its Arrow schema cannot be read"); }

private:
    const string &bytes;
    const string &where;
};

// A table of a flatbuffer; `Place` is 0 for a member that it has not.
class Table {
public:
    Table(const Buffer &buffer, idx_t place) : buffer(buffer), place(place) {
        auto distance = static_cast<int64_t>(buffer.At<int32_t>(place));
        auto start = static_cast<int64_t>(place) - distance;
        if (start < 0) {
            buffer.Fail();
        }
        members = static_cast<idx_t>(start);
        size = buffer.At<uint16_t>(members);
    }

    idx_t Place(idx_t member) const {
        auto slot = 4 + 2 * member;
        auto offset = slot + 2 <= size ? buffer.At<uint16_t>(members + slot) : 0;
        return offset ? place + offset : 0;
    }

    template <class T> T Get(idx_t member, T otherwise) const {
        auto found = Place(member);
        return found ? buffer.At<T>(found) : otherwise;
    }

    string Text(idx_t member) const {
        auto found = Place(member);
        return found ? buffer.Text(buffer.Follow(found)) : "";
    }

    //! The tables of a list of tables.
    vector<Table> Tables(idx_t member) const {
        vector<Table> found;
        auto at = Place(member);
        if (!at) {
            return found;
        }
        at = buffer.Follow(at);
        auto count = buffer.At<uint32_t>(at);
        if (count > FIELDS_MAX) {
            buffer.Fail();
        }
        for (idx_t item = 0; item < count; item++) {
            found.emplace_back(buffer, buffer.Follow(at + 4 + 4 * item));
        }
        return found;
    }

    Table Inner(idx_t member) const {
        auto found = Place(member);
        if (!found) {
            buffer.Fail();
        }
        return Table(buffer, buffer.Follow(found));
    }

    const Buffer &buffer;

private:
    idx_t place;
    idx_t members;
    idx_t size;
};

ArrowUnit Unit(const Table &type, ArrowUnit otherwise) {
    auto unit = type.Get<int16_t>(0, static_cast<int16_t>(otherwise));
    if (unit < 0 || unit > 3) {
        type.buffer.Fail();
    }
    return static_cast<ArrowUnit>(unit);
}

// The numbers are those of the union `Type` in Arrow's Schema.fbs.
void ReadType(ArrowField &field, uint8_t number, const Table &type) {
    switch (number) {
    case 1:
        field.kind = ArrowKind::NULLS;
        break;
    case 2:
        field.kind = ArrowKind::INTEGER;
        field.bits = type.Get<int32_t>(0, 0);
        field.is_signed = type.Get<uint8_t>(1, 0) != 0;
        break;
    case 3:
        field.kind = ArrowKind::FLOAT;
        field.bits = 16 << (type.Get<int16_t>(0, 0) & 3);
        break;
    case 4:
    case 15:
    case 19:
    case 23:
        field.kind = ArrowKind::BINARY;
        break;
    case 5:
    case 20:
    case 24:
        field.kind = ArrowKind::TEXT;
        break;
    case 6:
        field.kind = ArrowKind::BOOLEAN;
        break;
    case 7:
        field.kind = ArrowKind::DECIMAL;
        field.precision = type.Get<int32_t>(0, 0);
        field.scale = type.Get<int32_t>(1, 0);
        break;
    case 8:
        field.kind = ArrowKind::DATE;
        break;
    case 9:
        field.kind = ArrowKind::TIME;
        field.unit = Unit(type, ArrowUnit::MILLISECOND);
        break;
    case 10:
        field.kind = ArrowKind::TIMESTAMP;
        field.unit = Unit(type, ArrowUnit::SECOND);
        field.has_zone = type.Place(1) != 0;
        break;
    case 12:
    case 21:
    case 25:
    case 26:
        field.kind = ArrowKind::LIST;
        break;
    case 13:
        field.kind = ArrowKind::STRUCT;
        break;
    case 16:
        field.kind = ArrowKind::FIXED_LIST;
        field.list_size = type.Get<int32_t>(0, 0);
        break;
    case 17:
        field.kind = ArrowKind::MAP;
        break;
    case 18:
        field.kind = ArrowKind::DURATION;
        field.unit = Unit(type, ArrowUnit::MILLISECOND);
        break;
    default:
        field.kind = ArrowKind::UNREADABLE;
    }
}

ArrowField ReadField(const Table &table, idx_t depth, idx_t &count) {
    if (depth > NESTED_MAX || ++count > FIELDS_MAX) {
        table.buffer.Fail();
    }
    ArrowField field;
    field.name = table.Text(0);
    if (!duckdb::Value::StringIsValid(field.name)) {
        table.buffer.Fail();
    }
    ReadType(field, table.Get<uint8_t>(2, 0), table.Inner(3));
    for (auto &child : table.Tables(5)) {
        field.children.push_back(ReadField(child, depth + 1, count));
    }
    for (auto &pair : table.Tables(6)) {
        if (pair.Text(0) == "ARROW:extension:name") {
            field.extension = pair.Text(1);
        }
    }
    auto children = field.children.size();
    bool is_list = field.kind == ArrowKind::LIST || field.kind == ArrowKind::FIXED_LIST;
    if (field.kind == ArrowKind::MAP) {
        if (children != 1 || field.children[0].children.size() != 2) {
            table.buffer.Fail();
        }
        auto entry = std::move(field.children[0].children);
        field.children = std::move(entry);
    } else if ((is_list && children != 1) || (!is_list && field.kind != ArrowKind::STRUCT && children != 0) ||
               (field.kind == ArrowKind::STRUCT && children == 0)) {
        field.kind = ArrowKind::UNREADABLE; // a union, runs, or a struct of nothing, which no table of DuckDB has
        field.children.clear();
    }
    return field;
}

} // namespace

vector<ArrowField> ReadArrowSchema(const string &base64, const string &where) {
    vector<ArrowField> fields;
    if (base64.empty()) {
        return fields;
    }
    string bytes;
    try {
        bytes = duckdb::Blob::FromBase64(duckdb::string_t(base64.c_str(), static_cast<uint32_t>(base64.size())));
    } catch (std::exception &) {
        Damaged(where, "its Arrow schema is no base64");
    }
    Buffer buffer(bytes, where);
    // The message is behind 0xFFFFFFFF and its length, or behind its length alone.
    idx_t start = buffer.At<uint32_t>(0) == 0xFFFFFFFF ? 8 : 4;
    Table message(buffer, buffer.Follow(start));
    if (message.Get<uint8_t>(1, 0) != 1) {
        buffer.Fail();
    }
    idx_t count = 0;
    for (auto &field : message.Inner(2).Tables(1)) {
        fields.push_back(ReadField(field, 0, count));
    }
    return fields;
}

} // namespace vstore
