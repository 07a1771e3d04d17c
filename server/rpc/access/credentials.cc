#include "server/rpc/access/credentials.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/config_reader.h"
#include "server/engine/policy.h"

namespace denoise {
namespace {

using nlohmann::json;

constexpr int64_t kMostCount = 1'000'000;
constexpr int64_t kMostBytes = int64_t{1} << 40;
constexpr double kMostRate = 1e9;
constexpr double kMostSeconds = 365.0 * 24 * 3600;

constexpr const char* kKeys[] = {"name",
                                 "sha256",
                                 "san",
                                 "scopes",
                                 "tenant",
                                 "may_name_tenant",
                                 "max_priority",
                                 "max_active_chains",
                                 "max_waiting_requests",
                                 "max_waiting_bytes",
                                 "rows_per_second",
                                 "burst_rows",
                                 "max_call_seconds"};
constexpr Scope kScopes[] = {Scope::kInfer, Scope::kAdmin, Scope::kMetrics};

absl::Status AtLine(int line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", what));
}

// An entry and where it stands.
struct Entry {
  json object;
  int line = 0;
  std::map<std::string, int> lines;  // of its keys
  std::string twice;                 // a key that it has twice; empty: none
};

// The document's entries. The library tells the line of no value, but it reads the text as a stream
// and calls back at every key, and then the stream stands there.
absl::StatusOr<std::vector<Entry>> Parse(const std::string& text) {
  std::istringstream stream(text);
  size_t counted = 0;
  int line = 1;
  const auto here = [&] {
    const auto at = stream.rdbuf()->pubseekoff(0, std::ios::cur, std::ios::in);
    const size_t end = at < 0 ? text.size() : static_cast<size_t>(at);
    line += static_cast<int>(std::count(text.begin() + counted, text.begin() + end, '\n'));
    counted = end;
    return line;
  };
  std::vector<Entry> entries;
  const auto note = [&](int depth, json::parse_event_t event, const json& value) {
    if (depth == 1 && event == json::parse_event_t::object_start) {
      entries.emplace_back().line = here();
    } else if (depth == 2 && event == json::parse_event_t::key && !entries.empty()) {
      const std::string key = value.get<std::string>();
      Entry& entry = entries.back();
      if (!entry.lines.emplace(key, here()).second) {
        entry.twice = key;
        entry.lines[key] = line;
      }
    }
    return true;
  };
  json document;
  try {
    document = json::parse(stream, note);
  } catch (const json::exception&) {  // whose words may quote a token
    return AtLine(here(), "is not JSON here: a quote, a comma or a bracket is missing or too many");
  }
  if (!document.is_array()) {
    return AtLine(1, "is not the beginning of a list: write [{\"name\": …, \"sha256\": …}]");
  }
  if (document.empty() || entries.size() != document.size()) {
    return AtLine(1, document.empty() ? "the list has no entry: write one for each principal"
                                      : "the list has something else than objects");
  }
  for (size_t i = 0; i < entries.size(); ++i) entries[i].object = std::move(document[i]);
  return entries;
}

// A text, or a list of texts and at least one; without the key, nothing.
std::vector<std::string> Texts(const json& object, const char* key, ConfigReader* reader) {
  if (!reader->Has(key)) return {};
  const json& value = object[key];
  std::vector<std::string> texts;
  for (const json& element : value.is_array() ? value : json::array({value})) {
    if (!element.is_string()) break;
    texts.push_back(element.get<std::string>());
  }
  // What is there may be a token, and is not shown.
  if (texts.empty() || texts.size() != (value.is_array() ? value.size() : 1)) {
    reader->Fail(key, "what is there", "is not a text or a list of texts");
  }
  return texts;
}

std::optional<Digest> FromHex(absl::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.size() ||
      !std::all_of(hex.begin(), hex.end(), absl::ascii_isxdigit)) {
    return std::nullopt;
  }
  const std::string bytes = absl::HexStringToBytes(hex);
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

void ReadShown(const json& object, ConfigReader* reader, Credential* credential) {
  for (const std::string& hex : Texts(object, "sha256", reader)) {
    if (const std::optional<Digest> digest = FromHex(hex)) {
      credential->tokens.push_back(*digest);
    } else {
      reader->Fail("sha256", "what is there",
                   "is not 64 hexadecimal digits; of a token, denoised --hash-token makes them");
    }
  }
  credential->names = Texts(object, "san", reader);
  for (const std::string& name : credential->names) {
    if (name.empty()) reader->Fail("san", "\"\"", "is no name of a certificate");
  }
  if (credential->tokens.empty() && credential->names.empty()) {
    reader->Fail("name", "the entry", "has neither sha256 nor san, so that nobody could be it");
  }
}

unsigned ReadScopes(const json& object, ConfigReader* reader) {
  if (!reader->Has("scopes")) return static_cast<unsigned>(Scope::kInfer);
  unsigned scopes = 0;
  for (const std::string& text : Texts(object, "scopes", reader)) {
    const auto* found = std::find_if(std::begin(kScopes), std::end(kScopes),
                                     [&](Scope scope) { return text == Name(scope); });
    if (found == std::end(kScopes)) {
      reader->Fail("scopes", json(text).dump(), "is not infer, admin or metrics");
    } else {
      scopes |= static_cast<unsigned>(*found);
    }
  }
  constexpr auto kMetrics = static_cast<unsigned>(Scope::kMetrics);
  if ((scopes & kMetrics) != 0 && scopes != kMetrics) {
    reader->Fail("scopes", "metrics beside others",
                 "would send their token over plain HTTP; give metrics an entry of its own");
  }
  return scopes;
}

void ReadLimits(ConfigReader* reader, Principal* principal) {
  TenantLimits& limits = principal->limits;
  if (const auto value = reader->Integer("max_priority", -kMaxPriority, kMaxPriority)) {
    principal->max_priority = static_cast<int>(*value);
  }
  if (const auto value = reader->Integer("max_active_chains", 1, kMostCount)) {
    limits.max_active = static_cast<size_t>(*value);
  }
  if (const auto value = reader->Integer("max_waiting_requests", 1, kMostCount)) {
    limits.max_waiting = static_cast<size_t>(*value);
  }
  if (const auto value = reader->Integer("max_waiting_bytes", 1, kMostBytes)) {
    limits.max_waiting_bytes = static_cast<uint64_t>(*value);
  }
  if (const auto value = reader->Number("rows_per_second", 0, kMostRate)) {
    limits.rows = {*value, std::max(1.0, *value)};
  }
  if (const auto value = reader->Number("burst_rows", 0, kMostRate)) {
    if (limits.rows.per_second == 0) {
      reader->Fail("burst_rows", absl::StrCat(*value), "is of no use without rows_per_second");
    }
    limits.rows.burst = *value;
  }
  if (const auto value = reader->Number("max_call_seconds", 0, kMostSeconds)) {
    principal->max_call = std::chrono::nanoseconds(static_cast<int64_t>(std::ceil(*value * 1e9)));
  }
}

// A text that IsName(); `otherwise` without the key.
std::string ReadName(const char* key, const std::string& otherwise, ConfigReader* reader) {
  const std::string name = reader->Text(key).value_or(otherwise);
  if (!IsName(name)) {
    reader->Fail(key, json(name).dump(-1, ' ', true),
                 "is not 1..128 printable ASCII characters without blanks");
  }
  return name;
}

absl::StatusOr<Credential> ReadEntry(const Entry& entry, const Principal& defaults) {
  if (!entry.twice.empty()) {
    return AtLine(entry.lines.at(entry.twice),
                  absl::StrCat(json(entry.twice).dump(), " is there twice in one entry"));
  }
  for (const auto& [key, line] : entry.lines) {
    if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
      return AtLine(line, absl::StrCat(json(key).dump(), " is no key of an entry; there are ",
                                       absl::StrJoin(kKeys, ", ")));
    }
  }
  ConfigReader reader(entry.object, [&entry](const char* key) {
    const auto line = entry.lines.find(key);
    return absl::StrCat("line ", line == entry.lines.end() ? entry.line : line->second, ": ");
  });
  Credential credential;
  Principal principal = defaults;
  principal.name = ReadName("name", "", &reader);
  principal.tenant = ReadName("tenant", principal.name, &reader);
  principal.may_name_tenant = reader.Flag("may_name_tenant").value_or(false);
  principal.scopes = ReadScopes(entry.object, &reader);
  ReadLimits(&reader, &principal);
  ReadShown(entry.object, &reader, &credential);
  if (!reader.status().ok()) return reader.status();
  credential.principal = std::make_shared<const Principal>(std::move(principal));
  return credential;
}

}  // namespace

Digest DigestOf(absl::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), digest.data());
  return digest;
}

absl::StatusOr<std::vector<Credential>> ReadCredentials(const std::string& text,
                                                        const Principal& defaults) {
  const absl::StatusOr<std::vector<Entry>> entries = Parse(text);
  if (!entries.ok()) return entries.status();
  std::vector<Credential> credentials;
  std::map<std::string, int> names, certificates;
  std::map<Digest, int> tokens;
  for (const Entry& entry : *entries) {
    absl::StatusOr<Credential> credential = ReadEntry(entry, defaults);
    if (!credential.ok()) return credential.status();
    // The line of the entry that has it already.
    const auto check = [&entry](const char* key, auto* seen, const auto& value) {
      const auto [before, is_new] = seen->emplace(value, entry.line);
      if (is_new) return absl::OkStatus();
      return AtLine(entry.lines.at(key), absl::StrCat(key, ": is that of the entry of line ",
                                                      before->second, " too; each has its own"));
    };
    absl::Status status = check("name", &names, credential->principal->name);
    for (const Digest& token : credential->tokens) {
      if (status.ok()) status = check("sha256", &tokens, token);
    }
    for (const std::string& name : credential->names) {
      if (status.ok()) status = check("san", &certificates, name);
    }
    if (!status.ok()) return status;
    credentials.push_back(*std::move(credential));
  }
  return credentials;
}

}  // namespace denoise
