#include <atomic>
#include <thread>

#include "duckdb/common/error_data.hpp"
#include "duckdb/common/file_system.hpp"
#include "duckdb/common/multi_file/multi_file_list.hpp"
#include "library.hpp"

namespace vstore {

using duckdb::FileSystem;
using duckdb::Value;

constexpr idx_t READERS_MAX = 32;

//! Opened so, an object takes one GET: nobody asks for its length first.
static duckdb::OpenFileInfo Whole(const string &path) {
    duckdb::OpenFileInfo info(path);
    info.extended_info = duckdb::make_shared_ptr<duckdb::ExtendedOpenFileInfo>();
    info.extended_info->options["force_full_download"] = Value::BOOLEAN(true);
    return info;
}

//! Whether an error says that there is no such object.
static bool IsMissing(const std::exception &error) {
    duckdb::ErrorData data(error);
    auto &extra = data.ExtraInfo();
    auto status = extra.find("status_code");
    return status != extra.end() && status->second == "404";
}

bool Files::IsRemote() const {
    return FileSystem::IsRemoteFile(root);
}

bool Files::TryRead(const string &key, string &bytes) const {
    auto &files = FileSystem::GetFileSystem(context);
    auto path = Path(key);
    try {
        auto flags = duckdb::FileFlags::FILE_FLAGS_READ | duckdb::FileFlags::FILE_FLAGS_NULL_IF_NOT_EXISTS;
        auto handle = IsRemote() ? files.OpenFile(Whole(path), flags) : files.OpenFile(path, flags);
        if (!handle) {
            return false;
        }
        auto size = handle->GetFileSize();
        if (size > DOCUMENT_BYTES_MAX) {
            Damaged(path, "it has " + std::to_string(size) + " bytes");
        }
        bytes.resize(size);
        for (idx_t at = 0; at < size;) {
            auto count = handle->Read(&bytes[at], size - at);
            if (count <= 0) {
                Damaged(path, "it ends early");
            }
            at += count;
        }
        return true;
    } catch (std::exception &error) {
        if (IsMissing(error)) {
            return false;
        }
        throw;
    }
}

vector<std::unique_ptr<string>> Files::ReadMany(const vector<string> &keys) const {
    vector<std::unique_ptr<string>> found(keys.size());
    std::atomic<idx_t> next(0);
    std::mutex lock;
    std::exception_ptr failure;
    auto work = [&]() {
        for (auto at = next++; at < keys.size(); at = next++) {
            try {
                string bytes;
                if (TryRead(keys[at], bytes)) {
                    found[at] = std::make_unique<string>(std::move(bytes));
                }
            } catch (...) {
                std::lock_guard<std::mutex> guard(lock);
                failure = std::current_exception();
                next = keys.size();
            }
        }
    };
    vector<std::thread> threads;
    auto others = IsRemote() ? std::min(READERS_MAX, keys.size()) : 1;
    for (idx_t at = 1; at < others; at++) {
        threads.emplace_back(work);
    }
    work();
    for (auto &thread : threads) {
        thread.join();
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    return found;
}

void Files::List(const string &folder, const std::function<bool(const string &)> &each) const {
    auto &files = FileSystem::GetFileSystem(context);
    auto path = Path(folder);
    if (!IsRemote()) {
        vector<string> names;
        files.ListFiles(path, [&](const string &name, bool) { names.push_back(name); });
        std::sort(names.begin(), names.end());
        for (auto &name : names) {
            if (!each(name)) {
                return;
            }
        }
        return;
    }
    auto found = files.Glob(path + "*", duckdb::FileGlobInput(duckdb::FileGlobOptions::ALLOW_EMPTY), nullptr);
    for (auto &file : found->Files()) {
        auto slash = file.path.rfind('/');
        if (!each(file.path.substr(slash == string::npos ? 0 : slash + 1))) {
            return;
        }
    }
}

void Files::ListBelow(const string &folder, const std::function<void(const string &, const string &)> &each) const {
    if (!IsRemote()) {
        vector<string> folders;
        FileSystem::GetFileSystem(context).ListFiles(Path(folder), [&](const string &name, bool is_directory) {
            if (is_directory) {
                folders.push_back(name);
            }
        });
        std::sort(folders.begin(), folders.end());
        for (auto &inner : folders) {
            List(folder + inner + "/", [&](const string &name) {
                each(inner, name);
                return true;
            });
        }
        return;
    }
    auto &files = FileSystem::GetFileSystem(context);
    auto pattern = Path(folder) + "*/*";
    auto found = files.Glob(pattern, duckdb::FileGlobInput(duckdb::FileGlobOptions::ALLOW_EMPTY), nullptr);
    for (auto &file : found->Files()) {
        auto parts = duckdb::StringUtil::Split(file.path, '/');
        each(parts[parts.size() - 2], parts.back());
    }
}

} // namespace vstore
