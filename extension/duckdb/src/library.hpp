// One library as a reader sees it: documents by key, and which version a name and a time mean. Nothing here writes.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <set>
#include <unordered_map>

#include "version.hpp"

namespace vstore {

using VersionPtr = std::shared_ptr<Version>;

//! Files under a root, through DuckDB's file systems, with the secrets of the caller's connection.
class Files {
public:
    Files(duckdb::ClientContext &context, const string &root) : context(context), root(root) {}

    //! The bytes of a key, in one request; false where there is no such object.
    bool TryRead(const string &key, string &bytes) const;
    //! The same of many keys, several at a time where they are far away; null: there is none.
    vector<std::unique_ptr<string>> ReadMany(const vector<string> &keys) const;
    //! Calls `each` with the names directly in a folder (`folder` ends in "/"), in the order of their bytes, until it
    //! returns false. Of a remote folder no more pages are asked for than that.
    void List(const string &folder, const std::function<bool(const string &)> &each) const;
    //! Calls `each` with folder and name of all objects one folder below `folder`.
    void ListBelow(const string &folder, const std::function<void(const string &, const string &)> &each) const;

    bool IsRemote() const;
    string Path(const string &key) const { return root + key; }

    duckdb::ClientContext &context;

private:
    const string root;
};

struct Snapshot {
    string name;
    duckdb::timestamp_t created_at;
    std::map<string, int64_t> versions;
    duckdb::Value author;
    duckdb::Value message;
    duckdb::Value metadata;
};

//! What an AT form says of a version.
struct At {
    enum class Kind : uint8_t { NEWEST, NUMBER, TIME, SNAPSHOT, HELD };
    Kind kind = Kind::NEWEST;
    int64_t number = 0;
    duckdb::timestamp_t time;
    string snapshot;
};

//! Thread-safe: the connections of an instance share one.
class Library {
public:
    //! Raises an error unless there is a library at `root`.
    Library(duckdb::ClientContext &context, string root);

    //! Looks whether this is the library still that it was; at most every few seconds.
    void Refresh(duckdb::ClientContext &context);

    //! The version that `at` means. Null: there is no such symbol, or it is deleted where that is newest. Raises an
    //! error for a version that there is not, was pruned, or is a deletion.
    VersionPtr Resolve(duckdb::ClientContext &context, const string &symbol, const At &at);
    //! The newest visible version, deletions too, created before `limit` (null: there is none), and the highest number.
    VersionPtr Newest(duckdb::ClientContext &context, const string &symbol, duckdb::timestamp_t limit,
                      int64_t &highest);
    //! The time of the first visible version above `number`.
    duckdb::timestamp_t NextTime(duckdb::ClientContext &context, const string &symbol, int64_t number);

    //! The names of all symbols that have a document, with the numbers of their documents, highest first.
    std::map<string, vector<int64_t>> Symbols(duckdb::ClientContext &context);
    //! The names of the symbols that are there, by the folded catalogue and the journal; false: documents must tell.
    bool TryFoldedNames(duckdb::ClientContext &context, vector<string> &names);
    //! The newest versions of all symbols that are there, by name.
    std::map<string, VersionPtr> NewestOfAll(duckdb::ClientContext &context);
    //! All visible versions but pruned ones, by symbol, newest first.
    vector<VersionPtr> History(duckdb::ClientContext &context);

    vector<string> SnapshotNames(duckdb::ClientContext &context);
    //! False: there is none of this name.
    bool TryReadSnapshot(duckdb::ClientContext &context, const string &name, Snapshot &snapshot);

    //! All segments of a version, those in manifests too.
    Segments AllSegments(duckdb::ClientContext &context, const Version &version);
    //! DuckDB's own type of a column, whose labels may be in a run.
    string OwnType(duckdb::ClientContext &context, const Version &version, idx_t column);

    const string &Root() const { return root; }
    const string &SegmentsRoot() const { return segments_root; }
    const string &Name() const { return name; }

private:
    struct Cached {
        VersionPtr version;
        std::list<string>::iterator place;
    };

    void Load(duckdb::ClientContext &context);
    VersionPtr Read(const Files &files, const string &symbol, int64_t number);
    VersionPtr Remember(const string &key, VersionPtr version);
    VersionPtr Known(const string &key);
    //! The version as readers see it; null: it is undecided, aborted, or of another library.
    VersionPtr Visible(const Files &files, VersionPtr version);
    void ReadAhead(const Files &files, const vector<string> &keys);
    vector<int64_t> Numbers(const Files &files, const string &symbol);
    std::set<int64_t> Condemned(const Files &files, const string &symbol);
    std::map<string, std::set<int64_t>> CondemnedOfAll(const Files &files);
    void ReadGarbage(const Files &files, const vector<string> &keys);
    VersionPtr ByNumber(const Files &files, const string &symbol, int64_t number);
    VersionPtr FromNewest(const Files &files, const string &symbol, int64_t number);
    VersionPtr AtTime(const Files &files, const string &symbol, duckdb::timestamp_t time);
    VersionPtr HeldBy(const Files &files, const string &symbol, int64_t number);

    struct Decision {
        bool is_committed;
        duckdb::timestamp_t decided_at;
    };

    std::mutex lock;
    const string root;
    string segments_root;
    string library_id;
    string name;
    std::chrono::steady_clock::time_point looked_at;
    std::unordered_map<string, Cached> cache;
    std::list<string> least_recent;
    idx_t cached_bytes = 0;
    std::unordered_map<string, Decision> decisions;
    //! by key: symbol and numbers
    std::unordered_map<string, std::pair<string, vector<int64_t>>> garbage;
};

} // namespace vstore
