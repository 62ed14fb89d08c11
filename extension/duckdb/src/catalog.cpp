#include "catalog.hpp"

#include "catalogue_tables.hpp"
#include "duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp"
#include "duckdb/catalog/similar_catalog_entry.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/planner/tableref/bound_at_clause.hpp"
#include "duckdb/storage/database_size.hpp"
#include "scan.hpp"
#include "writes.hpp"

using namespace std::string_literals; // NOLINT: for names with NUL

namespace vstore {

using duckdb::CatalogEntry;
using duckdb::CatalogTransaction;
using duckdb::CatalogType;
using duckdb::ClientContext;
using duckdb::EntryLookupInfo;
using duckdb::optional_ptr;
using duckdb::SchemaCatalogEntry;

static const char *const CATALOGUE_SCHEMA = "vstore";

static VStoreTransaction &TransactionOf(ClientContext &context, VStoreCatalog &catalog) {
    auto &transaction = duckdb::Transaction::Get(context, catalog).Cast<VStoreTransaction>();
    if (!transaction.is_fresh) {
        catalog.library->Refresh(context);
        transaction.is_fresh = true;
    }
    return transaction;
}

//! The name itself if it is among `names`, else the only one that equals it without regard to case; "": there is none.
static string Matching(const string &wanted, const vector<string> &names, const string &noun) {
    vector<string> matches;
    for (auto &name : names) {
        if (name == wanted) {
            return name;
        }
        if (duckdb::StringUtil::Lower(name) == duckdb::StringUtil::Lower(wanted)) {
            matches.push_back(name);
        }
    }
    if (matches.size() > 1) {
        throw duckdb::BinderException("'%s' matches the %ss %s: write one of them exactly, in double quotes",
                                      Shown(wanted), noun, Shown(duckdb::StringUtil::Join(matches, ", ")));
    }
    return matches.empty() ? "" : matches[0];
}

static At AtOf(const duckdb::BoundAtClause &clause) {
    At at;
    auto &value = clause.GetValue();
    auto type = value.type().id();
    if (value.IsNull()) {
        throw duckdb::BinderException("AT takes a version or a time, not NULL");
    }
    if (duckdb::StringUtil::Upper(clause.Unit()) == "VERSION") {
        if (type == duckdb::LogicalTypeId::VARCHAR) {
            at.kind = At::Kind::SNAPSHOT;
            at.snapshot = value.ToString();
        } else if (value.type().IsIntegral()) {
            at.kind = At::Kind::NUMBER;
            at.number = value.GetValue<int64_t>();
        } else {
            throw duckdb::BinderException("AT (VERSION => …) takes a whole number, or the name of a snapshot as text, "
                                          "not %s",
                                          value.ToString());
        }
        return at;
    }
    at.kind = At::Kind::TIME;
    if (type == duckdb::LogicalTypeId::VARCHAR) { // without a zone it is in UTC, as in lib.sql
        at.time = duckdb::Timestamp::FromString(value.ToString(), true);
    } else if (type == duckdb::LogicalTypeId::TIMESTAMP_TZ || type == duckdb::LogicalTypeId::TIMESTAMP) {
        at.time = value.GetValueUnsafe<duckdb::timestamp_t>();
    } else {
        at.time = value.DefaultCastAs(duckdb::LogicalType::TIMESTAMP).GetValueUnsafe<duckdb::timestamp_t>();
    }
    return at;
}

VersionPtr VStoreTransaction::Newest(ClientContext &context, Library &library, const string &symbol) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    auto known = pinned.find(symbol);
    if (known != pinned.end()) {
        return known->second.version;
    }
    int64_t highest;
    auto version = library.Newest(context, symbol, duckdb::timestamp_t::infinity(), highest);
    // If none of the others has moved since, all of them and this one were the newest at the moment of this read. Else
    // what counts is the moment before the first of them moved.
    auto limit = duckdb::timestamp_t::infinity();
    for (auto &pair : pinned) {
        int64_t now;
        auto newest = library.Newest(context, pair.first, duckdb::timestamp_t::infinity(), now);
        auto number = pair.second.version ? pair.second.version->number : -1;
        if (newest && newest->number > number) {
            limit = std::min(limit, library.NextTime(context, pair.first, number));
        }
    }
    if (version && version->created_at >= limit) {
        version = library.Newest(context, symbol, limit, highest);
    }
    pinned[symbol] = Pinned {version, highest};
    return version;
}

duckdb::Transaction &VStoreTransactionManager::StartTransaction(ClientContext &context) {
    auto transaction = duckdb::make_uniq<VStoreTransaction>(*this, context);
    auto &result = *transaction;
    std::lock_guard<std::mutex> guard(lock);
    transactions[result] = std::move(transaction);
    return result;
}

duckdb::ErrorData VStoreTransactionManager::CommitTransaction(ClientContext &, duckdb::Transaction &transaction) {
    RollbackTransaction(transaction);
    return duckdb::ErrorData();
}

void VStoreTransactionManager::RollbackTransaction(duckdb::Transaction &transaction) {
    std::lock_guard<std::mutex> guard(lock);
    transactions.erase(transaction);
}

// Schemas

static VStoreSchema &SchemaOf(VStoreTransaction &transaction, VStoreCatalog &catalog, const string &name,
                              VStoreSchema::Kind kind, Snapshot snapshot) {
    std::lock_guard<std::recursive_mutex> guard(transaction.lock);
    auto &schema = transaction.schemas[name];
    if (!schema) {
        duckdb::CreateSchemaInfo info;
        info.catalog = catalog.GetName();
        info.schema = name;
        schema = duckdb::make_uniq<VStoreSchema>(catalog, info, kind, std::move(snapshot));
    }
    return *schema;
}

static bool IsReserved(const string &schema) {
    auto name = duckdb::StringUtil::Lower(schema);
    return name == "temp" || name == "memory" || name == "system" || name == "information_schema" ||
           name == "pg_catalog";
}

optional_ptr<SchemaCatalogEntry> VStoreCatalog::LookupSchema(CatalogTransaction transaction,
                                                             const EntryLookupInfo &lookup,
                                                             duckdb::OnEntryNotFound if_not_found) {
    auto &context = transaction.GetContext();
    auto wanted = lookup.GetEntryName();
    auto lower = duckdb::StringUtil::Lower(wanted);
    auto &own = TransactionOf(context, *this);
    if (wanted.empty() || lower == DEFAULT_SCHEMA) {
        return SchemaOf(own, *this, DEFAULT_SCHEMA, VStoreSchema::Kind::NEWEST, Snapshot());
    }
    if (lower == CATALOGUE_SCHEMA) {
        return SchemaOf(own, *this, CATALOGUE_SCHEMA, VStoreSchema::Kind::CATALOGUE, Snapshot());
    }
    {
        std::lock_guard<std::recursive_mutex> guard(own.lock);
        auto known = own.schemas.find(wanted);
        if (known != own.schemas.end()) {
            return known->second.get();
        }
    }
    if (!IsReserved(wanted)) {
        Snapshot snapshot;
        bool is_found = library->TryReadSnapshot(context, wanted, snapshot);
        auto name = is_found ? wanted : Matching(wanted, library->SnapshotNames(context), "snapshot");
        if (is_found || (!name.empty() && library->TryReadSnapshot(context, name, snapshot))) {
            return SchemaOf(own, *this, name, VStoreSchema::Kind::SNAPSHOT, std::move(snapshot));
        }
    }
    if (if_not_found == duckdb::OnEntryNotFound::THROW_EXCEPTION) {
        throw duckdb::CatalogException(lookup.GetErrorContext(),
                                       "'%s' has no snapshot '%s': FROM %s.vstore.snapshots shows all", GetName(),
                                       Shown(wanted), Quote(GetName()));
    }
    return nullptr;
}

void VStoreCatalog::ScanSchemas(ClientContext &context, std::function<void(SchemaCatalogEntry &)> callback) {
    auto &own = TransactionOf(context, *this);
    callback(SchemaOf(own, *this, DEFAULT_SCHEMA, VStoreSchema::Kind::NEWEST, Snapshot()));
    callback(SchemaOf(own, *this, CATALOGUE_SCHEMA, VStoreSchema::Kind::CATALOGUE, Snapshot()));
    for (auto &name : library->SnapshotNames(context)) {
        Snapshot snapshot;
        auto lower = duckdb::StringUtil::Lower(name);
        if (IsReserved(name) || lower == DEFAULT_SCHEMA || lower == CATALOGUE_SCHEMA) {
            continue; // of earlier releases: AT (VERSION => 'name') reaches it
        }
        try {
            if (!library->TryReadSnapshot(context, name, snapshot)) {
                continue;
            }
        } catch (duckdb::Exception &) {
            continue; // it cannot be read: whoever asks for it is told why
        }
        callback(SchemaOf(own, *this, name, VStoreSchema::Kind::SNAPSHOT, std::move(snapshot)));
    }
}

duckdb::CatalogLookupBehavior VStoreCatalog::CatalogTypeLookupRule(CatalogType type) const {
    switch (type) {
    case CatalogType::TABLE_ENTRY:
    case CatalogType::VIEW_ENTRY:
    case CatalogType::TABLE_FUNCTION_ENTRY:
        return duckdb::CatalogLookupBehavior::STANDARD;
    default:
        return duckdb::CatalogLookupBehavior::NEVER_LOOKUP;
    }
}

VStoreSchema::VStoreSchema(VStoreCatalog &catalog, duckdb::CreateSchemaInfo &info, Kind kind, Snapshot snapshot)
    : SchemaCatalogEntry(catalog, info), kind(kind), snapshot(std::move(snapshot)), owner(catalog) {}

vector<string> VStoreSchema::Names(ClientContext &context) {
    vector<string> names;
    if (kind == Kind::CATALOGUE) {
        return CatalogueTables();
    }
    if (kind == Kind::SNAPSHOT) {
        for (auto &pair : snapshot.versions) {
            names.push_back(pair.first);
        }
        return names;
    }
    if (owner.library->TryFoldedNames(context, names)) {
        return names;
    }
    for (auto &pair : owner.library->Symbols(context)) {
        names.push_back(pair.first);
    }
    return names;
}

// Views, and the functions that they call

namespace {

//! The parsed query of a view.
duckdb::unique_ptr<duckdb::SelectStatement> Parsed(const string &sql) {
    return duckdb::CreateViewInfo::ParseSelect(sql);
}

//! A view whose query is made when it is bound: listings name thousands, and bind few.
class SymbolView : public duckdb::ViewCatalogEntry {
public:
    SymbolView(VStoreCatalog &catalog, VStoreSchema &schema, duckdb::CreateViewInfo &info, std::function<string()> make)
        : ViewCatalogEntry(catalog, schema, info), make(std::move(make)) {}

    const duckdb::SelectStatement &GetQuery() override {
        std::lock_guard<std::mutex> guard(query_lock);
        if (!query) {
            query = Parsed(make());
        }
        return *query;
    }

    //! Only listings of columns ask for this: of what cannot be read they show none, and whoever reads it is told why.
    void BindView(ClientContext &context, duckdb::BindViewAction action) override {
        try {
            ViewCatalogEntry::BindView(context, action);
        } catch (duckdb::Exception &) {
            UpdateBinding({}, {});
        }
    }

    string ToSQL() const override { return ""; }

private:
    std::mutex query_lock;
    const std::function<string()> make;
};

} // namespace

static CatalogEntry *Known(VStoreTransaction &transaction, const string &key) {
    std::lock_guard<std::recursive_mutex> guard(transaction.lock);
    auto found = transaction.entries.find(key);
    return found == transaction.entries.end() ? nullptr : found->second.get();
}

//! Keeps an entry for as long as the transaction; one that is there already stays, since somebody may use it.
static CatalogEntry &Keep(VStoreTransaction &transaction, const string &key, duckdb::unique_ptr<CatalogEntry> entry) {
    std::lock_guard<std::recursive_mutex> guard(transaction.lock);
    return *transaction.entries.emplace(key, std::move(entry)).first->second;
}

//! Puts a function into the transaction, and returns the name that a view of the schema calls it by.
static string KeepFunction(VStoreTransaction &transaction, VStoreCatalog &catalog, VStoreSchema &schema,
                           duckdb::TableFunction function) {
    std::lock_guard<std::recursive_mutex> guard(transaction.lock);
    // DuckDB looks for functions in lower case, in which symbols may have one name.
    auto name = duckdb::StringUtil::Lower(function.name);
    while (transaction.entries.count(schema.name + "\0function\0"s + name)) {
        name += "'";
    }
    function.name = name;
    duckdb::CreateTableFunctionInfo info(std::move(function));
    info.schema = schema.name;
    info.catalog = catalog.GetName();
    Keep(transaction, schema.name + "\0function\0"s + name,
         duckdb::make_uniq<duckdb::TableFunctionCatalogEntry>(catalog, schema, info));
    return Quote(catalog.GetName()) + "." + Quote(schema.name) + "." + Quote(name);
}

static CatalogEntry &KeepView(VStoreTransaction &transaction, VStoreCatalog &catalog, VStoreSchema &schema,
                              const string &name, const string &key, std::function<string()> make) {
    duckdb::CreateViewInfo info(schema, name);
    return Keep(transaction, schema.name + "\0view\0"s + key,
                duckdb::make_uniq<SymbolView>(catalog, schema, info, std::move(make)));
}

CatalogEntry &VStoreSchema::Symbol(ClientContext &context, VersionPtr version) {
    auto &transaction = TransactionOf(context, owner);
    auto key = std::to_string(version->number) + "@" + version->symbol;
    if (auto known = Known(transaction, name + "\0view\0"s + key)) {
        return *known;
    }
    return KeepView(transaction, owner, *this, version->symbol, key,
                    [this, &context, version]() { return Query(context, version); });
}

string VStoreSchema::Query(ClientContext &context, VersionPtr version) {
    auto info = duckdb::make_shared_ptr<ScanInfo>();
    info->version = version;
    info->segments = owner.library->AllSegments(context, *version);
    info->root = owner.library->SegmentsRoot();
    auto label = version->symbol + "@" + std::to_string(version->number);
    auto function =
        KeepFunction(TransactionOf(context, owner), owner, *this, ScanFunction(context, label, std::move(info)));
    return ViewQuery(context, *owner.library, *version, function);
}

CatalogEntry &VStoreSchema::Listed(ClientContext &context, const string &symbol) {
    auto &transaction = TransactionOf(context, owner);
    auto key = "@" + symbol; // which no version of any symbol has
    if (auto known = Known(transaction, name + "\0view\0"s + key)) {
        return *known;
    }
    return KeepView(transaction, owner, *this, symbol, key, [this, &transaction, &context, symbol]() {
        auto version = transaction.Newest(context, *owner.library, symbol);
        if (!version || version->IsDeleted()) {
            throw duckdb::BinderException("%s is gone since it was listed", Shown(symbol));
        }
        return Query(context, version);
    });
}

CatalogEntry &VStoreSchema::CatalogueTable(ClientContext &context, const string &table) {
    auto &transaction = TransactionOf(context, owner);
    if (auto known = Known(transaction, name + "\0view\0"s + table)) {
        return *known;
    }
    return KeepView(transaction, owner, *this, table, table, [this, &transaction, table]() {
        auto function = KeepFunction(transaction, owner, *this, CatalogueFunction(table, table + "@", owner.library));
        return "SELECT * FROM " + function + "()";
    });
}

optional_ptr<CatalogEntry> VStoreSchema::Find(ClientContext &context, const string &symbol, const At &at) {
    auto &transaction = TransactionOf(context, owner);
    VersionPtr version;
    if (kind == Kind::SNAPSHOT) {
        auto held = snapshot.versions.find(symbol);
        if (held != snapshot.versions.end()) {
            At number;
            number.kind = At::Kind::HELD;
            number.number = held->second;
            version = owner.library->Resolve(context, symbol, number);
        }
    } else if (at.kind == At::Kind::NEWEST) {
        version = transaction.Newest(context, *owner.library, symbol);
        if (version && version->IsDeleted()) {
            owner.library->Resolve(context, symbol, at); // says so
            version = nullptr;
        }
    } else {
        version = owner.library->Resolve(context, symbol, at);
    }
    return version ? &Symbol(context, version) : nullptr;
}

optional_ptr<CatalogEntry> VStoreSchema::LookupEntry(CatalogTransaction transaction, const EntryLookupInfo &lookup) {
    auto &context = transaction.GetContext();
    auto &wanted = lookup.GetEntryName();
    if (lookup.GetCatalogType() == CatalogType::TABLE_FUNCTION_ENTRY) {
        auto &own = TransactionOf(context, owner);
        return Known(own, name + "\0function\0"s + wanted);
    }
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY && lookup.GetCatalogType() != CatalogType::VIEW_ENTRY) {
        return nullptr;
    }
    auto clause = lookup.GetAtClause();
    if (clause && kind != Kind::NEWEST) {
        throw duckdb::BinderException(kind == Kind::SNAPSHOT ? "'%s' is a snapshot already: leave out AT"
                                                             : "tables of the catalogue '%s' take no AT: filter "
                                                               "their rows",
                                      Shown(name));
    }
    auto at = clause ? AtOf(*clause) : At();
    if (kind == Kind::CATALOGUE) {
        auto table = Matching(wanted, CatalogueTables(), "table");
        return table.empty() ? nullptr : &CatalogueTable(context, table);
    }
    RefuseWrites(context, owner.GetName(), wanted);
    auto found = at.kind == At::Kind::SNAPSHOT ? nullptr : Find(context, wanted, at);
    if (found) {
        return found;
    }
    vector<string> names = Names(context);
    if (at.kind == At::Kind::SNAPSHOT) {
        Snapshot held;
        names.clear();
        owner.library->TryReadSnapshot(context, at.snapshot, held);
        for (auto &pair : held.versions) {
            names.push_back(pair.first);
        }
    }
    auto symbol = Matching(wanted, names, "symbol");
    if (symbol.empty()) {
        return at.kind == At::Kind::SNAPSHOT ? Find(context, wanted, at) : nullptr;
    }
    return at.kind == At::Kind::SNAPSHOT || symbol != wanted ? Find(context, symbol, at) : nullptr;
}

void VStoreSchema::Scan(ClientContext &context, CatalogType type, const std::function<void(CatalogEntry &)> &callback) {
    if (type != CatalogType::TABLE_ENTRY && type != CatalogType::VIEW_ENTRY) {
        return;
    }
    if (kind == Kind::CATALOGUE) {
        for (auto &table : CatalogueTables()) {
            callback(CatalogueTable(context, table));
        }
        return;
    }
    auto show = [&](const string &symbol, const std::function<VersionPtr()> &find) {
        VersionPtr version;
        try {
            version = find();
        } catch (duckdb::Exception &) {
            return; // it cannot be read: whoever asks for it is told why
        }
        if (!version->Shown().empty()) { // a value without columns is none of SQL
            callback(Symbol(context, version));
        }
    };
    if (kind == Kind::SNAPSHOT) {
        for (auto &pair : snapshot.versions) {
            show(pair.first, [&]() {
                At at;
                at.kind = At::Kind::HELD;
                at.number = pair.second;
                return owner.library->Resolve(context, pair.first, at);
            });
        }
        return;
    }
    vector<string> names;
    if (owner.library->TryFoldedNames(context, names)) {
        for (auto &symbol : names) {
            callback(Listed(context, symbol));
        }
        return;
    }
    for (auto &pair : owner.library->NewestOfAll(context)) {
        show(pair.first, [&]() { return pair.second; });
    }
}

void VStoreSchema::Scan(CatalogType, const std::function<void(CatalogEntry &)> &) {}

duckdb::SimilarCatalogEntry VStoreSchema::GetSimilarEntry(CatalogTransaction transaction, const EntryLookupInfo &lookup) {
    duckdb::SimilarCatalogEntry similar;
    for (auto &candidate : Names(transaction.GetContext())) {
        auto score = duckdb::StringUtil::SimilarityRating(candidate, lookup.GetEntryName());
        if (score > similar.score) {
            similar.score = score;
            similar.name = candidate;
            similar.schema = this;
        }
    }
    return similar;
}

// What writes is refused, here and in RefuseWrites: what of it DuckDB asks the catalogue for.

#define VSTORE_REFUSES(function, ...)                                                                                  \
    optional_ptr<CatalogEntry> function(__VA_ARGS__) { Refuse(); }

VSTORE_REFUSES(VStoreSchema::CreateIndex, CatalogTransaction, duckdb::CreateIndexInfo &, duckdb::TableCatalogEntry &)
VSTORE_REFUSES(VStoreSchema::CreateFunction, CatalogTransaction, duckdb::CreateFunctionInfo &)
VSTORE_REFUSES(VStoreSchema::CreateTable, CatalogTransaction, duckdb::BoundCreateTableInfo &)
VSTORE_REFUSES(VStoreSchema::CreateView, CatalogTransaction, duckdb::CreateViewInfo &)
VSTORE_REFUSES(VStoreSchema::CreateSequence, CatalogTransaction, duckdb::CreateSequenceInfo &)
VSTORE_REFUSES(VStoreSchema::CreateTableFunction, CatalogTransaction, duckdb::CreateTableFunctionInfo &)
VSTORE_REFUSES(VStoreSchema::CreateCopyFunction, CatalogTransaction, duckdb::CreateCopyFunctionInfo &)
VSTORE_REFUSES(VStoreSchema::CreatePragmaFunction, CatalogTransaction, duckdb::CreatePragmaFunctionInfo &)
VSTORE_REFUSES(VStoreSchema::CreateCollation, CatalogTransaction, duckdb::CreateCollationInfo &)
VSTORE_REFUSES(VStoreSchema::CreateType, CatalogTransaction, duckdb::CreateTypeInfo &)
VSTORE_REFUSES(VStoreCatalog::CreateSchema, CatalogTransaction, duckdb::CreateSchemaInfo &)

void VStoreSchema::DropEntry(ClientContext &, duckdb::DropInfo &) {
    Refuse();
}

void VStoreSchema::Alter(CatalogTransaction, duckdb::AlterInfo &) {
    Refuse();
}

void VStoreCatalog::DropSchema(ClientContext &, duckdb::DropInfo &) {
    Refuse();
}

duckdb::PhysicalOperator &VStoreCatalog::PlanCreateTableAs(ClientContext &, duckdb::PhysicalPlanGenerator &,
                                                           duckdb::LogicalCreateTable &, duckdb::PhysicalOperator &) {
    Refuse();
}

duckdb::PhysicalOperator &VStoreCatalog::PlanInsert(ClientContext &, duckdb::PhysicalPlanGenerator &,
                                                    duckdb::LogicalInsert &, optional_ptr<duckdb::PhysicalOperator>) {
    Refuse();
}

duckdb::PhysicalOperator &VStoreCatalog::PlanDelete(ClientContext &, duckdb::PhysicalPlanGenerator &,
                                                    duckdb::LogicalDelete &, duckdb::PhysicalOperator &) {
    Refuse();
}

duckdb::PhysicalOperator &VStoreCatalog::PlanUpdate(ClientContext &, duckdb::PhysicalPlanGenerator &,
                                                    duckdb::LogicalUpdate &, duckdb::PhysicalOperator &) {
    Refuse();
}

} // namespace vstore
