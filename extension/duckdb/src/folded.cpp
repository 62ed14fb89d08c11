// The names of a large library's symbols, by what is folded: FORMAT.md, Catalogue, has the rules and their reasons.

#include <unordered_set>

#include "duckdb/main/connection.hpp"
#include "library.hpp"

namespace vstore {

constexpr idx_t TAIL_MAX = 1000;
constexpr idx_t INTENTS_READ_MAX = 200;

static bool IsDigits(const string &text, idx_t count) {
    return text.size() == count && text.find_first_not_of("0123456789") == string::npos;
}

//! The marks of generations that intents were removed for, by number.
static std::map<int64_t, std::set<string>> Marks(const Files &files) {
    std::map<int64_t, std::set<string>> marks;
    files.List("folds/", [&](const string &file) {
        if (file.size() == 43 && IsDigits(file.substr(0, 10), 10) && file[10] == '.' && IsIdentity(file.substr(11))) {
            marks[VERSION_NUMBER_MAX - std::stoll(file.substr(0, 10))].insert(file.substr(11));
        }
        return true;
    });
    return marks;
}

//! Adds the symbols that the journal announces; false: one of its intents cannot be read, or they are too many.
static bool TryReadJournal(const Files &files, std::set<string> &symbols) {
    vector<string> unnamed;
    files.List("journal/", [&](const string &file) {
        string symbol;
        if (!IsIdentity(file.substr(0, 32))) {
            return true; // another program's
        }
        if (file.size() == 32) {
            unnamed.push_back("journal/" + file);
        } else if (file[32] == '.' && TryUnescape(file.substr(33), symbol)) {
            symbols.insert(symbol);
        }
        return true;
    });
    if (unnamed.size() > INTENTS_READ_MAX) {
        return false;
    }
    auto found = files.ReadMany(unnamed);
    for (idx_t at = 0; at < unnamed.size(); at++) {
        if (found[at]) { // else it was removed, for a generation whose mark is seen below
            Document intent(*found[at], "intent", files.Path(unnamed[at]));
            auto symbol = intent.Root()["symbol"];
            if (!symbol.IsNull()) {
                symbols.insert(symbol.Text());
            }
        }
    }
    return true;
}

//! The names of symbols that are there, of the heads in `keys`: of several layers the last row of a symbol counts.
static bool TryReadHeads(const Files &files, const vector<string> &keys, std::set<string> &names) {
    string list;
    for (auto &key : keys) {
        list += (list.empty() ? "" : ", ") + Literal(files.Path(key));
    }
    duckdb::Connection connection(*files.context.db);
    auto result = connection.Query("SELECT symbol, newest IS NULL, is_deleted FROM read_parquet([" + list +
                                   "], hive_partitioning = false)");
    if (result->HasError()) {
        return false; // a collection has removed a file meanwhile, or it is damaged: documents tell
    }
    for (auto &row : *result) {
        if (row.IsNull(0)) {
            return false;
        }
        auto symbol = row.GetValue<string>(0);
        bool is_newest_known = !row.GetValue<bool>(1), is_deleted = !row.IsNull(2) && row.GetValue<bool>(2);
        if (is_newest_known && is_deleted) {
            names.erase(symbol);
        } else if (is_newest_known) {
            names.insert(symbol);
        }
    }
    return true;
}

bool Library::TryFoldedNames(duckdb::ClientContext &context, vector<string> &names) {
    Files files(context, root);
    if (Marks(files).empty()) {
        return false;
    }
    try {
        std::set<string> tail, found;
        if (!TryReadJournal(files, tail)) {
            return false;
        }
        auto marks = Marks(files); // again: after the journal
        string file, bytes;
        files.List("catalogue/generations/", [&](const string &name) {
            file = name;
            return !(name.size() == 15 && IsDigits(name.substr(0, 10), 10) && name.compare(10, 5, ".json") == 0);
        });
        if (marks.empty() || file.size() != 15 || !files.TryRead("catalogue/generations/" + file, bytes)) {
            return false;
        }
        Document generation(bytes, "generation", files.Path("catalogue/generations/" + file));
        auto fields = generation.Root();
        auto number = fields["number"].Integer(0, VERSION_NUMBER_MAX);
        auto highest = marks.rbegin();
        bool is_marked = highest->first == number && highest->second.size() == 1 &&
                         highest->second.count(fields["generation_id"].Text());
        bool is_believed = fields["library_id"].Text() == library_id &&
                           VERSION_NUMBER_MAX - std::stoll(file.substr(0, 10)) == number &&
                           (number > highest->first || is_marked);
        if (!is_believed) {
            return false;
        }
        for (auto &symbol : fields["waiting"].Items()) {
            tail.insert(symbol.Text());
        }
        vector<string> heads;
        for (auto &layer : fields["layers"].Items()) {
            for (auto &each : layer["heads"].Items()) {
                heads.push_back(each["key"].Text());
                if (!IsTimedFile(heads.back(), "catalogue/files/")) {
                    each.Fail("a file of the catalogue");
                }
            }
        }
        if (heads.empty() || !TryReadHeads(files, heads, found) ||
            tail.size() > std::max(TAIL_MAX, static_cast<idx_t>(found.size() / 2))) {
            return false;
        }
        for (auto &symbol : tail) {
            int64_t number_of;
            auto newest = Newest(context, symbol, duckdb::timestamp_t::infinity(), number_of);
            found.erase(symbol);
            if (newest && !newest->IsDeleted()) {
                found.insert(symbol);
            }
        }
        names.assign(found.begin(), found.end());
        return true;
    } catch (duckdb::InvalidInputException &) {
        return false; // what is derived is damaged, which costs time alone: documents tell
    } catch (duckdb::BinderException &) {
        return false;
    }
}

} // namespace vstore
