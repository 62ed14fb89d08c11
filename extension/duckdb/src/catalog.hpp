// The catalogue of an attached library: its symbols are views, its snapshots and `vstore` schemas of views.
#pragma once

#include <atomic>

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/view_catalog_entry.hpp"
#include "duckdb/storage/storage_extension.hpp"
#include "duckdb/transaction/transaction.hpp"
#include "duckdb/transaction/transaction_manager.hpp"
#include "library.hpp"

namespace vstore {

class VStoreCatalog;
class VStoreTransaction;

//! A schema: the newest versions ("main"), what a snapshot holds, or the catalogue's own tables ("vstore").
class VStoreSchema : public duckdb::SchemaCatalogEntry {
public:
    enum class Kind : uint8_t { NEWEST, SNAPSHOT, CATALOGUE };

    VStoreSchema(VStoreCatalog &catalog, duckdb::CreateSchemaInfo &info, Kind kind, Snapshot snapshot);

    void Scan(duckdb::ClientContext &context, duckdb::CatalogType type,
              const std::function<void(duckdb::CatalogEntry &)> &callback) override;
    void Scan(duckdb::CatalogType type, const std::function<void(duckdb::CatalogEntry &)> &callback) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> LookupEntry(duckdb::CatalogTransaction transaction,
                                                           const duckdb::EntryLookupInfo &lookup) override;
    duckdb::SimilarCatalogEntry GetSimilarEntry(duckdb::CatalogTransaction transaction,
                                                const duckdb::EntryLookupInfo &lookup) override;

    duckdb::optional_ptr<duckdb::CatalogEntry> CreateIndex(duckdb::CatalogTransaction, duckdb::CreateIndexInfo &,
                                                           duckdb::TableCatalogEntry &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateFunction(duckdb::CatalogTransaction,
                                                              duckdb::CreateFunctionInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateTable(duckdb::CatalogTransaction,
                                                           duckdb::BoundCreateTableInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateView(duckdb::CatalogTransaction, duckdb::CreateViewInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateSequence(duckdb::CatalogTransaction,
                                                              duckdb::CreateSequenceInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateTableFunction(duckdb::CatalogTransaction,
                                                                   duckdb::CreateTableFunctionInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateCopyFunction(duckdb::CatalogTransaction,
                                                                  duckdb::CreateCopyFunctionInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreatePragmaFunction(duckdb::CatalogTransaction,
                                                                    duckdb::CreatePragmaFunctionInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateCollation(duckdb::CatalogTransaction,
                                                               duckdb::CreateCollationInfo &) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> CreateType(duckdb::CatalogTransaction, duckdb::CreateTypeInfo &) override;
    void DropEntry(duckdb::ClientContext &, duckdb::DropInfo &) override;
    void Alter(duckdb::CatalogTransaction, duckdb::AlterInfo &) override;

    const Kind kind;
    const Snapshot snapshot;

private:
    vector<string> Names(duckdb::ClientContext &context);
    duckdb::optional_ptr<duckdb::CatalogEntry> Find(duckdb::ClientContext &context, const string &name, const At &at);
    duckdb::CatalogEntry &Symbol(duckdb::ClientContext &context, VersionPtr version);
    //! The query of the view of a version.
    string Query(duckdb::ClientContext &context, VersionPtr version);
    //! A view of whatever is newest of a symbol when it is bound.
    duckdb::CatalogEntry &Listed(duckdb::ClientContext &context, const string &symbol);
    duckdb::CatalogEntry &CatalogueTable(duckdb::ClientContext &context, const string &table);

    VStoreCatalog &owner;
};

class VStoreCatalog : public duckdb::Catalog {
public:
    VStoreCatalog(duckdb::AttachedDatabase &db, std::shared_ptr<Library> library)
        : Catalog(db), library(std::move(library)) {}

    void Initialize(bool) override {}
    string GetCatalogType() override { return "vstore"; }
    bool SupportsTimeTravel() const override { return true; }
    bool InMemory() override { return false; }
    string GetDBPath() override { return library->Root(); }
    duckdb::DatabaseSize GetDatabaseSize(duckdb::ClientContext &) override { return duckdb::DatabaseSize(); }
    bool CheckAmbiguousCatalogOrSchema(duckdb::ClientContext &, const string &) override { return false; }
    duckdb::CatalogLookupBehavior CatalogTypeLookupRule(duckdb::CatalogType type) const override;

    duckdb::optional_ptr<duckdb::SchemaCatalogEntry> LookupSchema(duckdb::CatalogTransaction transaction,
                                                                  const duckdb::EntryLookupInfo &lookup,
                                                                  duckdb::OnEntryNotFound if_not_found) override;
    void ScanSchemas(duckdb::ClientContext &context,
                     std::function<void(duckdb::SchemaCatalogEntry &)> callback) override;

    duckdb::optional_ptr<duckdb::CatalogEntry> CreateSchema(duckdb::CatalogTransaction,
                                                            duckdb::CreateSchemaInfo &) override;
    duckdb::PhysicalOperator &PlanCreateTableAs(duckdb::ClientContext &, duckdb::PhysicalPlanGenerator &,
                                                duckdb::LogicalCreateTable &, duckdb::PhysicalOperator &) override;
    duckdb::PhysicalOperator &PlanInsert(duckdb::ClientContext &, duckdb::PhysicalPlanGenerator &,
                                         duckdb::LogicalInsert &,
                                         duckdb::optional_ptr<duckdb::PhysicalOperator>) override;
    duckdb::PhysicalOperator &PlanDelete(duckdb::ClientContext &, duckdb::PhysicalPlanGenerator &,
                                         duckdb::LogicalDelete &, duckdb::PhysicalOperator &) override;
    duckdb::PhysicalOperator &PlanUpdate(duckdb::ClientContext &, duckdb::PhysicalPlanGenerator &,
                                         duckdb::LogicalUpdate &, duckdb::PhysicalOperator &) override;

    const std::shared_ptr<Library> library;

private:
    void DropSchema(duckdb::ClientContext &, duckdb::DropInfo &) override;
};

//! One statement, or one of the user's transactions. Each symbol that it reads keeps the version that it had first.
class VStoreTransaction : public duckdb::Transaction {
public:
    VStoreTransaction(duckdb::TransactionManager &manager, duckdb::ClientContext &context)
        : Transaction(manager, context) {}

    //! The newest version of a symbol at the moment of all that was read in this transaction; null: there is none.
    VersionPtr Newest(duckdb::ClientContext &context, Library &library, const string &symbol);

    std::map<string, duckdb::unique_ptr<VStoreSchema>> schemas;
    //! views and functions, by the schema's name, the type and the name
    std::map<string, duckdb::unique_ptr<duckdb::CatalogEntry>> entries;
    std::atomic<bool> is_fresh {false};
    //! of all here: the parts of a statement run at once, and DuckDB's own lists bind views while they run
    std::recursive_mutex lock;

private:
    struct Pinned {
        VersionPtr version;
        int64_t highest;
    };
    std::map<string, Pinned> pinned;
};

class VStoreTransactionManager : public duckdb::TransactionManager {
public:
    explicit VStoreTransactionManager(duckdb::AttachedDatabase &db) : TransactionManager(db) {}

    duckdb::Transaction &StartTransaction(duckdb::ClientContext &context) override;
    duckdb::ErrorData CommitTransaction(duckdb::ClientContext &, duckdb::Transaction &transaction) override;
    void RollbackTransaction(duckdb::Transaction &transaction) override;
    void Checkpoint(duckdb::ClientContext &, bool) override {}

private:
    std::mutex lock;
    duckdb::reference_map_t<duckdb::Transaction, duckdb::unique_ptr<VStoreTransaction>> transactions;
};

} // namespace vstore
