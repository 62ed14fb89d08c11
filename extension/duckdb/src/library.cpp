#include "library.hpp"

#include "duckdb/main/connection.hpp"

namespace vstore {

using duckdb::BinderException;
using duckdb::timestamp_t;
using duckdb::Value;

constexpr idx_t CACHED_BYTES_MAX = 256ULL << 20;
constexpr int SEARCHES_MAX = 5;
constexpr auto LOOK_AGAIN = std::chrono::seconds(5);

Library::Library(duckdb::ClientContext &context, string root_p) : root(std::move(root_p)) {
    Load(context);
}

void Library::Load(duckdb::ClientContext &context) {
    Files files(context, root);
    string bytes;
    if (!files.TryRead("library.json", bytes)) {
        throw BinderException("there is no library of duckvstore at '%s' (it has no library.json): ATTACH the "
                              "library's own folder, which is the store's followed by the library's name",
                              root);
    }
    Document document(bytes, "library", files.Path("library.json"));
    auto fields = document.Root();
    auto found = fields["library_id"].Text();
    auto segments = fields.Has("segments_url") ? fields["segments_url"].TextOr("") : "";
    looked_at = std::chrono::steady_clock::now();
    if (found == library_id) {
        return;
    }
    // What is remembered is of a library that was deleted.
    cache.clear();
    least_recent.clear();
    cached_bytes = 0;
    decisions.clear();
    garbage.clear();
    name = fields["name"].Text();
    segments_root = root;
    if (!segments.empty()) {
        segments = duckdb::StringUtil::StartsWith(segments, "file://") ? segments.substr(7) : segments;
        segments_root = segments + (segments.back() == '/' ? "" : "/") + Escaped(name) + "/";
        Files elsewhere(context, segments_root);
        if (!elsewhere.TryRead("owner.json", bytes)) {
            throw BinderException("the segments of '%s' should be at '%s', which has no owner.json", root,
                                  segments_root);
        }
        Document owner(bytes, "owner", elsewhere.Path("owner.json"));
        if (owner.Root()["library_id"].Text() != found) {
            throw BinderException("the segments at '%s' are of another library than '%s'", segments_root, root);
        }
    }
    library_id = found;
}

void Library::Refresh(duckdb::ClientContext &context) {
    std::lock_guard<std::mutex> guard(lock);
    if (std::chrono::steady_clock::now() - looked_at > LOOK_AGAIN) {
        Load(context);
    }
}

static string VersionKey(const string &symbol, int64_t number) {
    return "versions/" + Escaped(symbol) + "/" + VersionFile(number);
}

VersionPtr Library::Known(const string &key) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = cache.find(key);
    if (found == cache.end()) {
        return nullptr;
    }
    least_recent.splice(least_recent.end(), least_recent, found->second.place);
    return found->second.version;
}

VersionPtr Library::Remember(const string &key, VersionPtr version) {
    std::lock_guard<std::mutex> guard(lock);
    if (cache.count(key)) {
        return version;
    }
    least_recent.push_back(key);
    cache[key] = Cached {version, std::prev(least_recent.end())};
    cached_bytes += version->document_bytes;
    while (cached_bytes > CACHED_BYTES_MAX && cache.size() > 1) {
        auto oldest = cache.find(least_recent.front());
        cached_bytes -= oldest->second.version->document_bytes;
        cache.erase(oldest);
        least_recent.pop_front();
    }
    return version;
}

static VersionPtr Parsed(const Files &files, const string &key, const string &bytes) {
    auto version = ReadVersion(bytes, files.Path(key));
    if (VersionKey(version->symbol, version->number) != key) {
        Damaged(version->where, "it says that it is version " + std::to_string(version->number) + " of " +
                                    version->symbol + ": it was copied or moved");
    }
    return version;
}

VersionPtr Library::Read(const Files &files, const string &symbol, int64_t number) {
    auto key = VersionKey(symbol, number);
    auto known = Known(key);
    string bytes;
    if (known || !files.TryRead(key, bytes)) {
        return known;
    }
    return Remember(key, Parsed(files, key, bytes));
}

void Library::ReadAhead(const Files &files, const vector<string> &keys) {
    vector<string> unknown;
    for (auto &key : keys) {
        if (!Known(key)) {
            unknown.push_back(key);
        }
    }
    auto found = files.ReadMany(unknown);
    for (idx_t at = 0; at < unknown.size(); at++) {
        if (!found[at]) {
            continue;
        }
        try {
            Remember(unknown[at], Parsed(files, unknown[at], *found[at]));
        } catch (duckdb::Exception &) {
            // It is an error of whoever needs it: listings leave it out.
        }
    }
}

VersionPtr Library::Visible(const Files &files, VersionPtr version) {
    {
        std::lock_guard<std::mutex> guard(lock);
        if (!version || version->library_id != library_id) {
            return nullptr;
        }
    }
    if (version->transaction.empty()) {
        return version;
    }
    Decision decision;
    bool is_known;
    {
        std::lock_guard<std::mutex> guard(lock);
        auto found = decisions.find(version->transaction);
        is_known = found != decisions.end();
        decision = is_known ? found->second : Decision();
    }
    if (!is_known) {
        string bytes;
        auto key = "transactions/" + version->transaction + ".json";
        if (!files.TryRead(key, bytes)) {
            return nullptr; // undecided
        }
        Document document(bytes, "decision", files.Path(key));
        auto root = document.Root();
        auto outcome = root["outcome"].Text();
        if (root["transaction"].Text() != version->transaction || (outcome != "committed" && outcome != "aborted")) {
            Damaged(document.where, "it does not say what became of its transaction");
        }
        decision = Decision {outcome == "committed", root["decided_at"].Time()};
        std::lock_guard<std::mutex> guard(lock);
        decisions[version->transaction] = decision;
    }
    if (!decision.is_committed) {
        return nullptr;
    }
    auto decided = std::make_shared<Version>(*version);
    decided->created_at = decision.decided_at;
    return decided;
}

vector<int64_t> Library::Numbers(const Files &files, const string &symbol) {
    vector<int64_t> numbers;
    files.List("versions/" + Escaped(symbol) + "/", [&](const string &file) {
        int64_t number;
        if (TryParseVersionFile(file, number)) {
            numbers.push_back(number);
        }
        return true;
    });
    return numbers;
}

VersionPtr Library::Newest(duckdb::ClientContext &context, const string &symbol, timestamp_t limit, int64_t &highest) {
    Files files(context, root);
    if (Escaped(symbol).empty()) {
        return nullptr;
    }
    for (int search = 0; search < SEARCHES_MAX; search++) {
        VersionPtr newest;
        highest = -1;
        bool is_gone = false;
        files.List("versions/" + Escaped(symbol) + "/", [&](const string &file) {
            int64_t number;
            if (!TryParseVersionFile(file, number)) {
                return true;
            }
            highest = std::max(highest, number);
            auto version = Read(files, symbol, number);
            is_gone = !version;
            newest = Visible(files, version);
            if (newest && newest->created_at >= limit) {
                newest = nullptr;
            }
            return !newest && !is_gone;
        });
        if (!is_gone) {
            return newest;
        }
    }
    throw BinderException("documents of %s vanish while they are read: run the statement again", Shown(symbol));
}

timestamp_t Library::NextTime(duckdb::ClientContext &context, const string &symbol, int64_t number) {
    Files files(context, root);
    auto first = timestamp_t::infinity();
    for (auto above : Numbers(files, symbol)) {
        auto version = above > number ? Visible(files, Read(files, symbol, above)) : nullptr;
        first = version && version->created_at < first ? version->created_at : first;
    }
    return first;
}

void Library::ReadGarbage(const Files &files, const vector<string> &keys) {
    vector<string> unknown;
    {
        std::lock_guard<std::mutex> guard(lock);
        for (auto &key : keys) {
            if (!garbage.count(key)) {
                unknown.push_back(key);
            }
        }
    }
    auto found = files.ReadMany(unknown);
    for (idx_t at = 0; at < unknown.size(); at++) {
        if (!found[at]) {
            continue; // removed meanwhile, with all that it named
        }
        Document document(*found[at], "garbage", files.Path(unknown[at]));
        auto fields = document.Root();
        vector<int64_t> numbers;
        for (auto &number : fields["versions"].Items()) {
            numbers.push_back(number.Integer(0, VERSION_NUMBER_MAX));
        }
        auto symbol = fields["symbol"].Text();
        std::lock_guard<std::mutex> guard(lock);
        if (fields["library_id"].Text() != library_id) {
            numbers.clear();
        }
        garbage[unknown[at]] = {symbol, numbers};
    }
}

std::set<int64_t> Library::Condemned(const Files &files, const string &symbol) {
    auto folder = "garbage/" + Escaped(symbol) + "/";
    vector<string> keys;
    files.List(folder, [&](const string &file) {
        keys.push_back(folder + file);
        return true;
    });
    ReadGarbage(files, keys);
    std::set<int64_t> numbers;
    std::lock_guard<std::mutex> guard(lock);
    for (auto &key : keys) {
        auto found = garbage.find(key);
        if (found != garbage.end() && found->second.first == symbol) {
            numbers.insert(found->second.second.begin(), found->second.second.end());
        }
    }
    return numbers;
}

std::map<string, std::set<int64_t>> Library::CondemnedOfAll(const Files &files) {
    vector<string> keys;
    files.ListBelow("garbage/", [&](const string &folder, const string &file) {
        keys.push_back("garbage/" + folder + "/" + file);
    });
    ReadGarbage(files, keys);
    std::map<string, std::set<int64_t>> numbers;
    std::lock_guard<std::mutex> guard(lock);
    for (auto &key : keys) {
        auto found = garbage.find(key);
        if (found != garbage.end()) {
            numbers[found->second.first].insert(found->second.second.begin(), found->second.second.end());
        }
    }
    return numbers;
}

[[noreturn]] static void Pruned(const string &symbol, int64_t number) {
    throw BinderException("version %d of %s was pruned: FROM vstore.versions of the library shows those that are "
                                "there",
                                number, Shown(symbol));
}

VersionPtr Library::ByNumber(const Files &files, const string &symbol, int64_t number) {
    auto unwanted = Condemned(files, symbol);
    if (unwanted.count(number)) {
        Pruned(symbol, number);
    }
    auto found = Visible(files, Read(files, symbol, number));
    if (found) {
        return found;
    }
    int64_t highest;
    auto newest = Newest(files.context, symbol, timestamp_t::infinity(), highest);
    if (!newest) {
        return nullptr;
    }
    throw BinderException("%s has no version %d: its newest is %d, and FROM vstore.versions of the library shows "
                                "all",
                                Shown(symbol), number, newest->number);
}

VersionPtr Library::FromNewest(const Files &files, const string &symbol, int64_t number) {
    auto unwanted = Condemned(files, symbol);
    int64_t found = 0;
    for (auto each : Numbers(files, symbol)) {
        auto version = unwanted.count(each) ? nullptr : Visible(files, Read(files, symbol, each));
        found += version ? 1 : 0;
        if (found == -number) {
            return version;
        }
    }
    if (!found) {
        return nullptr;
    }
    throw BinderException("%s has %d versions, so there is no version %d", Shown(symbol), found, number);
}

VersionPtr Library::AtTime(const Files &files, const string &symbol, timestamp_t time) {
    auto unwanted = Condemned(files, symbol);
    auto present = Numbers(files, symbol);
    present.erase(std::remove_if(present.begin(), present.end(),
                                 [&](int64_t number) { return unwanted.count(number) && !Read(files, symbol, number); }),
                  present.end());
    // The first whose document is not later, by halves; all where documents of another library are met.
    idx_t low = 0, high = present.size();
    while (low < high) {
        auto middle = (low + high) / 2;
        auto version = Read(files, symbol, present[middle]);
        auto visible = Visible(files, version);
        if (!version || version->library_id != library_id) {
            low = 0;
            break;
        }
        if ((visible ? visible : version)->created_at <= time) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    VersionPtr found, successor;
    for (auto at = low; at-- > 0 && !successor;) {
        successor = Visible(files, Read(files, symbol, present[at]));
    }
    for (auto at = low; at < present.size() && !found; at++) {
        found = Visible(files, Read(files, symbol, present[at]));
        if (found && found->created_at > time) {
            successor = successor ? successor : found;
            found = nullptr;
        }
    }
    if (successor && !successor->parent.IsNull()) {
        auto before = successor->parent.GetValue<int64_t>();
        if (!found || (found->number != before && found->created_at < time)) {
            Pruned(symbol, before); // what the next version was made from is gone
        }
    }
    if (found && unwanted.count(found->number)) {
        Pruned(symbol, found->number);
    }
    if (!found && !present.empty()) {
        throw BinderException("%s had no version at %s (UTC)", Shown(symbol), duckdb::Timestamp::ToString(time));
    }
    return found;
}

VersionPtr Library::HeldBy(const Files &files, const string &symbol, int64_t number) {
    auto found = Visible(files, Read(files, symbol, number));
    if (!found) {
        throw BinderException("version %d of %s is not there, although a snapshot holds it: verify() of "
                                    "duckvstore shows what else is missing",
                                    number, Shown(symbol));
    }
    return found;
}

VersionPtr Library::Resolve(duckdb::ClientContext &context, const string &symbol, const At &at) {
    Files files(context, root);
    if (Escaped(symbol).empty()) {
        return nullptr;
    }
    VersionPtr found;
    Snapshot snapshot;
    int64_t highest;
    switch (at.kind) {
    case At::Kind::NEWEST:
        found = Newest(context, symbol, timestamp_t::infinity(), highest);
        break;
    case At::Kind::NUMBER:
        found = at.number < 0 ? FromNewest(files, symbol, at.number)
                : at.number > VERSION_NUMBER_MAX
                    ? nullptr
                    : ByNumber(files, symbol, at.number);
        break;
    case At::Kind::TIME:
        found = AtTime(files, symbol, at.time);
        break;
    case At::Kind::HELD:
        found = HeldBy(files, symbol, at.number);
        break;
    case At::Kind::SNAPSHOT:
        if (!TryReadSnapshot(context, at.snapshot, snapshot)) {
            throw BinderException("the library has no snapshot '%s': FROM vstore.snapshots shows all",
                                        Shown(at.snapshot));
        }
        if (!snapshot.versions.count(symbol)) {
            throw BinderException("snapshot '%s' does not hold %s", Shown(at.snapshot), Shown(symbol));
        }
        found = HeldBy(files, symbol, snapshot.versions[symbol]);
        break;
    }
    if (found && found->IsDeleted()) {
        auto before = found->parent.IsNull() ? "" : ": AT (VERSION => " + found->parent.ToString() + ") has what was there before";
        throw BinderException("version %d of %s is its deletion%s", found->number, Shown(symbol), before);
    }
    return found;
}

std::map<string, vector<int64_t>> Library::Symbols(duckdb::ClientContext &context) {
    Files files(context, root);
    std::map<string, vector<int64_t>> symbols;
    files.ListBelow("versions/", [&](const string &folder, const string &file) {
        string symbol;
        int64_t number;
        if (TryParseVersionFile(file, number) && TryUnescape(folder, symbol)) {
            symbols[symbol].push_back(number);
        }
    });
    return symbols;
}

std::map<string, VersionPtr> Library::NewestOfAll(duckdb::ClientContext &context) {
    Files files(context, root);
    auto symbols = Symbols(context);
    vector<string> heads;
    for (auto &pair : symbols) {
        heads.push_back(VersionKey(pair.first, pair.second.front()));
    }
    ReadAhead(files, heads);
    std::map<string, VersionPtr> found;
    for (auto &pair : symbols) {
        for (auto number : pair.second) {
            VersionPtr version;
            try {
                version = Visible(files, Read(files, pair.first, number));
            } catch (duckdb::Exception &) {
                break; // it cannot be read: whoever asks for it is told why
            }
            if (version) {
                if (!version->IsDeleted()) {
                    found[pair.first] = version;
                }
                break;
            }
        }
    }
    return found;
}

vector<VersionPtr> Library::History(duckdb::ClientContext &context) {
    Files files(context, root);
    auto unwanted = CondemnedOfAll(files);
    auto symbols = Symbols(context);
    vector<string> keys;
    for (auto &pair : symbols) {
        for (auto number : pair.second) {
            keys.push_back(VersionKey(pair.first, number));
        }
    }
    ReadAhead(files, keys);
    vector<VersionPtr> found;
    for (auto &pair : symbols) {
        for (auto number : pair.second) {
            if (unwanted[pair.first].count(number)) {
                continue;
            }
            try {
                auto version = Visible(files, Read(files, pair.first, number));
                if (version) {
                    found.push_back(version);
                }
            } catch (duckdb::Exception &) {
                continue; // as above
            }
        }
    }
    return found;
}

vector<string> Library::SnapshotNames(duckdb::ClientContext &context) {
    vector<string> names;
    Files(context, root).List("snapshots/", [&](const string &file) {
        string snapshot;
        if (duckdb::StringUtil::EndsWith(file, ".json") && TryUnescape(file.substr(0, file.size() - 5), snapshot)) {
            names.push_back(snapshot);
        }
        return true;
    });
    return names;
}

//! Rows of Parquet objects of this library, in the order of their keys, by a connection with the same secrets.
static duckdb::unique_ptr<duckdb::MaterializedQueryResult> QueryRuns(duckdb::ClientContext &context, const string &select,
                                                                     const string &root, const vector<string> &keys) {
    string list;
    for (auto &key : keys) {
        list += (list.empty() ? "" : ", ") + Literal(root + key);
    }
    duckdb::Connection connection(*context.db);
    auto result = connection.Query("SELECT " + select + " FROM read_parquet([" + list +
                                   "], union_by_name = true, hive_partitioning = false)");
    if (result->HasError()) {
        Damaged(root + keys[0], "it cannot be read: " + result->GetError());
    }
    return result;
}

//! Adds the versions in the files that a large snapshot names: FORMAT.md, Snapshots.
static void AddFiles(duckdb::ClientContext &context, const string &root, const vector<Json> &files, Snapshot &snapshot) {
    auto folder = "snapshot_files/" + Escaped(snapshot.name) + "/";
    vector<string> keys;
    idx_t count = snapshot.versions.size();
    for (auto &file : files) {
        keys.push_back(file["key"].Text());
        count += file["rows"].Count();
        if (!IsTimedFile(keys.back(), folder)) {
            file.Fail("a file of this snapshot");
        }
    }
    if (keys.empty()) {
        return;
    }
    auto rows = QueryRuns(context, "symbol::VARCHAR, version::BIGINT", root, keys);
    for (auto &row : *rows) {
        auto symbol = row.IsNull(0) ? string() : row.GetValue<string>(0);
        auto number = row.IsNull(1) ? -1 : row.GetValue<int64_t>(1);
        if (Escaped(symbol).empty() || number < 0 || number > VERSION_NUMBER_MAX) {
            Damaged(root + keys[0], "one of these files holds what is no version of a symbol");
        }
        snapshot.versions[symbol] = number;
    }
    if (snapshot.versions.size() != count) {
        Damaged(root + keys[0], "these files have other rows than the snapshot says");
    }
}

bool Library::TryReadSnapshot(duckdb::ClientContext &context, const string &wanted, Snapshot &snapshot) {
    Files files(context, root);
    auto key = "snapshots/" + Escaped(wanted) + ".json";
    string bytes;
    if (Escaped(wanted).empty() || !files.TryRead(key, bytes)) {
        return false;
    }
    Document document(bytes, "snapshot", files.Path(key));
    auto fields = document.Root();
    if (fields["name"].Text() != wanted) {
        Damaged(document.where, "it has another name: it was copied or moved");
    }
    if (fields["library_id"].Text() != library_id) {
        return false; // of a library of this name that was deleted
    }
    snapshot.name = wanted;
    snapshot.created_at = fields["created_at"].Time();
    for (auto &pair : fields["versions"].Members()) {
        if (Escaped(pair.first).empty()) {
            Damaged(document.where, "it holds what has no name");
        }
        snapshot.versions[pair.first] = pair.second.Integer(0, VERSION_NUMBER_MAX);
    }
    if (!fields["files"].IsNull()) {
        AddFiles(context, root, fields["files"].Items(), snapshot);
    }
    snapshot.author = fields["author"].IsNull() ? Value() : Value(fields["author"].Text());
    snapshot.message = fields["message"].IsNull() ? Value() : Value(fields["message"].Text());
    snapshot.metadata = fields["metadata"].IsNull() ? Value() : Value(fields["metadata"].Dump());
    return true;
}

//! Puts the segments `first` … of `from` behind those in `into`, with whatever is known of each column in both.
static void Add(Segments &into, const Segments &from, idx_t first, idx_t last) {
    for (auto at = first; at < last; at++) {
        auto before = into.Size();
        into.keys.push_back(from.keys[at]);
        into.rows.push_back(from.rows[at]);
        into.bytes.push_back(from.bytes[at]);
        into.logical_bytes.push_back(from.logical_bytes[at]);
        into.sha256.push_back(from.sha256[at]);
        for (auto &pair : from.bounds) {
            auto &bounds = into.bounds[pair.first];
            bounds.low.resize(before);
            bounds.high.resize(before);
            bounds.nulls.resize(before, -1);
            bounds.nan.resize(before, -1);
            bounds.low.push_back(pair.second.low[at]);
            bounds.high.push_back(pair.second.high[at]);
            bounds.nulls.push_back(pair.second.nulls[at]);
            bounds.nan.push_back(pair.second.nan[at]);
        }
    }
    for (auto &pair : into.bounds) {
        pair.second.low.resize(into.Size());
        pair.second.high.resize(into.Size());
        pair.second.nulls.resize(into.Size(), -1);
        pair.second.nan.resize(into.Size(), -1);
    }
}

static Value BoundOfText(const Value &text, const Column &column) {
    auto spelled = text.IsNull() ? "null" : text.ToString();
    if (spelled == "null") {
        return Value();
    }
    // It is JSON: a text has its quotes, which an envelope lets the reader of documents take off.
    Document json("{\"duckvstore\":\"bound\",\"format\":1,\"requires\":[],\"bound\":" + spelled + "}", "bound", "a manifest");
    return BoundOf(json.Root()["bound"].Spelled(), column.arrow);
}

Segments Library::AllSegments(duckdb::ClientContext &context, const Version &version) {
    if (version.manifests.empty()) {
        return version.inline_segments;
    }
    vector<string> keys;
    for (auto &manifest : version.manifests) {
        keys.push_back(manifest.key);
    }
    auto result = QueryRuns(context, "*", segments_root, keys);
    std::map<string, idx_t> places;
    for (idx_t at = 0; at < result->names.size(); at++) {
        places[result->names[at]] = at;
    }
    for (auto needed : {"key", "rows", "bytes", "sha256", "logical_bytes"}) {
        if (!places.count(needed)) {
            Damaged(segments_root + keys[0], string("a manifest has no column ") + needed);
        }
    }
    Segments folded;
    for (auto &row : *result) {
        folded.keys.push_back(row.GetValue<string>(places["key"]));
        folded.rows.push_back(row.GetValue<int64_t>(places["rows"]));
        folded.bytes.push_back(row.GetValue<int64_t>(places["bytes"]));
        folded.sha256.push_back(row.GetValue<string>(places["sha256"]));
        folded.logical_bytes.push_back(row.GetValue<int64_t>(places["logical_bytes"]));
        if (!IsNamedKey(folded.keys.back(), "segments") || folded.rows.back() < 0) {
            Damaged(segments_root + keys[0], "a manifest names what is no segment: " + folded.keys.back());
        }
        for (auto &column : version.columns) {
            auto id = "_" + std::to_string(column.id);
            if (!places.count("min" + id) || !places.count("max" + id) || !places.count("nulls" + id) ||
                !places.count("nan" + id)) {
                continue;
            }
            auto &bounds = folded.bounds[column.id];
            auto nulls = row.GetBaseValue(places["nulls" + id]), nan = row.GetBaseValue(places["nan" + id]);
            bounds.low.push_back(BoundOfText(row.GetBaseValue(places["min" + id]), column));
            bounds.high.push_back(BoundOfText(row.GetBaseValue(places["max" + id]), column));
            bounds.nulls.push_back(nulls.IsNull() ? -1 : nulls.GetValue<int64_t>());
            bounds.nan.push_back(nan.IsNull() ? -1 : nan.GetValue<bool>());
        }
    }
    Segments all;
    idx_t stands = 0, taken = 0;
    for (auto &manifest : version.manifests) {
        Add(all, version.inline_segments, stands, manifest.position);
        stands = manifest.position;
        int64_t rows = 0;
        if (folded.Size() - taken < static_cast<idx_t>(manifest.count)) {
            Damaged(segments_root + manifest.key, "it has fewer segments than the document says");
        }
        for (int64_t at = 0; at < manifest.count; at++) {
            rows += folded.rows[taken + at];
        }
        if (rows != manifest.row_count) {
            Damaged(segments_root + manifest.key, "it has other rows than the document says");
        }
        Add(all, folded, taken, taken + manifest.count);
        taken += manifest.count;
    }
    Add(all, version.inline_segments, stands, version.inline_segments.Size());
    return all;
}

string Library::OwnType(duckdb::ClientContext &context, const Version &version, idx_t column) {
    auto found = version.own_in_run.find(column);
    if (found == version.own_in_run.end()) {
        return version.columns[column].own;
    }
    auto &run = version.label_runs[found->second];
    auto result = QueryRuns(context, "item", segments_root, {run.key});
    if (result->RowCount() != 1 || run.count != 1) {
        Damaged(segments_root + run.key, "it has other labels than the document says");
    }
    auto spelled = result->GetValue(0, 0).ToString();
    Document json("{\"duckvstore\":\"label\",\"format\":1,\"requires\":[],\"label\":" + spelled + "}", "label", segments_root + run.key);
    return json.Root()["label"].Text();
}

} // namespace vstore
