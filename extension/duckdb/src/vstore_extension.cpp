// The entry of the extension: ATTACH '<root of a library>' AS name (TYPE vstore).

#include "catalog.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"

namespace vstore {

static duckdb::unique_ptr<duckdb::Catalog> Attach(duckdb::optional_ptr<duckdb::StorageExtensionInfo>,
                                                  duckdb::ClientContext &context, duckdb::AttachedDatabase &db,
                                                  const string &, duckdb::AttachInfo &info,
                                                  duckdb::AttachOptions &options) {
    for (auto &option : options.options) {
        throw duckdb::BinderException("ATTACH … (TYPE vstore) has no option '%s'", option.first);
    }
    auto root = info.path;
    if (root.empty()) {
        throw duckdb::BinderException("ATTACH takes the URL or folder of a library: ATTACH 's3://bucket/prefix/eod' AS "
                                      "eod (TYPE vstore)");
    }
    if (duckdb::FileSystem::IsRemoteFile(root) && duckdb::FileSystem::HasGlob(root)) {
        throw duckdb::BinderException("'%s' has one of the characters *, ? and [, which DuckDB takes for a pattern", root);
    }
    root += root.back() == '/' ? "" : "/";
    options.access_mode = duckdb::AccessMode::READ_ONLY;
    return duckdb::make_uniq<VStoreCatalog>(db, std::make_shared<Library>(context, root));
}

static duckdb::unique_ptr<duckdb::TransactionManager>
CreateTransactionManager(duckdb::optional_ptr<duckdb::StorageExtensionInfo>, duckdb::AttachedDatabase &db,
                         duckdb::Catalog &) {
    return duckdb::make_uniq<VStoreTransactionManager>(db);
}

} // namespace vstore

extern "C" {

DUCKDB_EXTENSION_API void vstore_duckdb_cpp_init(duckdb::ExtensionLoader &loader) {
    loader.SetDescription("Versioned dataframes of duckvstore as tables: ATTACH '<library>' AS name (TYPE vstore)");
    auto storage = duckdb::make_shared_ptr<duckdb::StorageExtension>();
    storage->attach = vstore::Attach;
    storage->create_transaction_manager = vstore::CreateTransactionManager;
    auto &config = duckdb::DBConfig::GetConfig(loader.GetDatabaseInstance());
    duckdb::StorageExtension::Register(config, "vstore", std::move(storage));
}
}
