#include "keys.hpp"

namespace vstore {

constexpr idx_t ESCAPED_BYTES_MAX = 240;
static const char *const HEXADECIMAL = "0123456789ABCDEF";

static bool IsSafe(char character) {
    return (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z') ||
           (character >= '0' && character <= '9') || character == '.' || character == '_' || character == '-';
}

static bool IsLowerHex(const string &text, idx_t least, idx_t greatest) {
    return text.size() >= least && text.size() <= greatest &&
           text.find_first_not_of("0123456789abcdef") == string::npos;
}

string Escaped(const string &name) {
    bool only_dots = name.find_first_not_of('.') == string::npos;
    string escaped;
    for (auto character : name) {
        if (IsSafe(character) && !only_dots) {
            escaped += character;
        } else {
            auto byte = static_cast<unsigned char>(character);
            escaped += {'~', HEXADECIMAL[byte >> 4], HEXADECIMAL[byte & 15]};
        }
    }
    bool is_name = !name.empty() && escaped.size() <= ESCAPED_BYTES_MAX && duckdb::Value::StringIsValid(name);
    return is_name ? escaped : "";
}

bool TryUnescape(const string &escaped, string &name) {
    name.clear();
    for (idx_t at = 0; at < escaped.size(); at++) {
        if (escaped[at] != '~') {
            name += escaped[at];
            continue;
        }
        auto digits = escaped.substr(at + 1, 2);
        if (digits.size() < 2 || digits.find_first_not_of(HEXADECIMAL) != string::npos) {
            return false;
        }
        name += static_cast<char>(std::stoi(digits, nullptr, 16));
        at += 2;
    }
    return !escaped.empty() && Escaped(name) == escaped;
}

string VersionFile(int64_t number) {
    auto inverted = std::to_string(VERSION_NUMBER_MAX - number);
    return string(10 - inverted.size(), '0') + inverted + ".v" + std::to_string(number) + ".json";
}

bool TryParseVersionFile(const string &file, int64_t &number) {
    if (file.size() < 18 || file.compare(10, 2, ".v") != 0 || file.compare(file.size() - 5, 5, ".json") != 0) {
        return false;
    }
    auto digits = file.substr(12, file.size() - 17);
    if (digits.size() > 10 || digits.find_first_not_of("0123456789") != string::npos) {
        return false;
    }
    number = std::stoll(digits);
    return VersionFile(number) == file;
}

bool IsNamedKey(const string &key, const string &folder) {
    auto parts = duckdb::StringUtil::Split(key, '/');
    string symbol;
    if (parts.size() != 3 || parts[0] != folder || !TryUnescape(parts[1], symbol) ||
        !duckdb::StringUtil::EndsWith(parts[2], ".parquet")) {
        return false;
    }
    auto file = parts[2].substr(0, parts[2].size() - 8);
    if (folder == "manifests") {
        return IsLowerHex(file, 16, 16);
    }
    auto dash = file.find('-');
    return dash != string::npos && IsLowerHex(file.substr(0, dash), 16, 64) &&
           IsLowerHex(file.substr(dash + 1), 16, 16);
}

bool IsIdentity(const string &text) {
    return IsLowerHex(text, 32, 32);
}

static bool IsDigits(const string &text) {
    return text.find_first_not_of("0123456789") == string::npos;
}

bool IsTimedFile(const string &key, const string &folder) {
    if (key.size() != folder.size() + 41 || key.compare(0, folder.size(), folder) != 0) {
        return false;
    }
    auto file = key.substr(folder.size());
    return IsDigits(file.substr(0, 8)) && file[8] == 'T' && IsDigits(file.substr(9, 6)) &&
           file.compare(15, 2, "Z-") == 0 && IsLowerHex(file.substr(17, 16), 16, 16) &&
           file.compare(33, 8, ".parquet") == 0;
}

} // namespace vstore
