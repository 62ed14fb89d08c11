#include "writes.hpp"

#include "duckdb/main/database_manager.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/copy_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/statement/alter_statement.hpp"
#include "duckdb/parser/statement/copy_statement.hpp"
#include "duckdb/parser/statement/delete_statement.hpp"
#include "duckdb/parser/statement/drop_statement.hpp"
#include "duckdb/parser/statement/insert_statement.hpp"
#include "duckdb/parser/statement/merge_into_statement.hpp"
#include "duckdb/parser/statement/update_statement.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"

namespace vstore {

using duckdb::StatementType;
using duckdb::string;

void Refuse() {
    throw duckdb::BinderException("the vstore extension reads only: write with duckvstore, by lib.sql(\"…\") in "
                                          "Python or `duckvstore sql \"…\"` in a shell");
}

namespace {

struct Target {
    string catalog;
    string schema;
    string table;
};

Target TargetOf(const duckdb::TableRef &reference) {
    if (reference.type != duckdb::TableReferenceType::BASE_TABLE) {
        return Target();
    }
    auto &table = reference.Cast<duckdb::BaseTableRef>();
    return Target {table.catalog_name, table.schema_name, table.table_name};
}

// What a statement changes; without a table: nothing of interest.
Target TargetOf(const duckdb::SQLStatement &statement) {
    switch (statement.type) {
    case StatementType::INSERT_STATEMENT: {
        auto &insert = statement.Cast<duckdb::InsertStatement>();
        return Target {insert.catalog, insert.schema, insert.table};
    }
    case StatementType::UPDATE_STATEMENT:
        return TargetOf(*statement.Cast<duckdb::UpdateStatement>().table);
    case StatementType::DELETE_STATEMENT:
        return TargetOf(*statement.Cast<duckdb::DeleteStatement>().table);
    case StatementType::MERGE_INTO_STATEMENT:
        return TargetOf(*statement.Cast<duckdb::MergeIntoStatement>().target);
    case StatementType::ALTER_STATEMENT: {
        auto &alter = *statement.Cast<duckdb::AlterStatement>().info;
        return Target {alter.catalog, alter.schema, alter.name};
    }
    case StatementType::DROP_STATEMENT: {
        auto &drop = *statement.Cast<duckdb::DropStatement>().info;
        return Target {drop.catalog, drop.schema, drop.name};
    }
    case StatementType::COPY_STATEMENT: {
        auto &copy = *statement.Cast<duckdb::CopyStatement>().info;
        return copy.is_from ? Target {copy.catalog, copy.schema, copy.table} : Target();
    }
    default:
        return Target();
    }
}

bool IsSame(const string &left, const string &right) {
    return duckdb::StringUtil::CIEquals(left, right);
}

} // namespace

void RefuseWrites(duckdb::ClientContext &context, const string &catalog, const string &table) {
    duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements;
    try {
        duckdb::Parser parser(context.GetParserOptions());
        parser.ParseQuery(context.GetCurrentQuery());
        statements = std::move(parser.statements);
    } catch (std::exception &) {
        return; // it only words a better error
    }
    for (auto &statement : statements) {
        auto target = TargetOf(*statement);
        auto &database = target.catalog.empty() ? target.schema : target.catalog;
        bool is_here = database.empty() ? IsSame(duckdb::DatabaseManager::GetDefaultDatabase(context), catalog)
                                        : IsSame(database, catalog);
        if (!target.table.empty() && is_here && IsSame(target.table, table)) {
            Refuse();
        }
    }
}

} // namespace vstore
