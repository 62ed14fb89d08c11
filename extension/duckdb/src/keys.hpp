// The keys of a library, and which of them a document may name. FORMAT.md, Keys, draws the tree.
#pragma once

#include "duckdb.hpp"

namespace vstore {

using duckdb::idx_t;
using duckdb::string;
using duckdb::vector;

constexpr int64_t VERSION_NUMBER_MAX = 9999999999;

//! `name` as one part of a key; "" where no symbol, library or snapshot may have it.
string Escaped(const string &name);
//! The name that `escaped` is of; false where it is of none, so that another program wrote it.
bool TryUnescape(const string &escaped, string &name);

//! The name of the file of a version, behind the folder of its symbol.
string VersionFile(int64_t number);
//! The number of a version by its file's name; false where it is no such file.
bool TryParseVersionFile(const string &file, int64_t &number);

//! Whether a document may name this key, relative to the library's root: `segments/…` or `manifests/…`.
bool IsNamedKey(const string &key, const string &folder);
bool IsIdentity(const string &text);
//! Whether `key` is that of a file in `folder` with its time, `20261130T192118Z-<16 hexadecimal digits>.parquet`.
bool IsTimedFile(const string &key, const string &folder);

} // namespace vstore
