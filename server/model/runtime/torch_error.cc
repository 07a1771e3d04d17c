#include "server/model/runtime/torch_error.h"

#include <exception>
#include <new>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "c10/util/Exception.h"

namespace denoise {
namespace {

// The interpreter throws everything on as a text: its trace, then a line "RuntimeError: " with what
// was thrown.
constexpr char kInterpreter[] = "The following operation failed in the TorchScript interpreter.";

std::string OneSentence(const std::string& message) {
  absl::string_view rest = message;
  if (absl::StartsWith(rest, kInterpreter)) {
    constexpr char kThrown[] = "Error: ";
    const size_t thrown = rest.rfind(kThrown);
    if (thrown != absl::string_view::npos) rest.remove_prefix(thrown + sizeof(kThrown) - 1);
  }
  rest = absl::StripAsciiWhitespace(rest);
  rest = rest.substr(0, rest.find('\n'));
  rest = rest.substr(0, rest.find(". "));
  // `… INTERNAL ASSERT FAILED at "/src/file.cpp":12, …`
  rest = rest.substr(0, rest.find(" at \""));
  constexpr size_t kLongest = 300;
  if (rest.size() > kLongest) return absl::StrCat(rest.substr(0, kLongest), "…");
  return rest.empty() ? "no reason was given" : std::string(rest);
}

// By the text too, because the interpreter does not keep an exception's type.
bool IsOutOfMemory(absl::string_view message) {
  for (const char* text : {"can't allocate memory", "not enough memory", "out of memory",
                           "std::bad_alloc", "Cannot allocate memory"}) {
    if (absl::StrContains(message, text)) return true;
  }
  return false;
}

absl::Status OutOfMemory() { return absl::ResourceExhaustedError("there is not enough memory"); }

absl::Status MakeStatus(const std::string& message) {
  return IsOutOfMemory(message) ? OutOfMemory() : absl::InternalError(OneSentence(message));
}

}  // namespace

absl::Status CurrentExceptionStatus() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    return OutOfMemory();
  } catch (const c10::Error& error) {
    return MakeStatus(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::exception& error) {
    return MakeStatus(error.what());
  } catch (...) {
    return absl::InternalError("an exception of an unknown type");
  }
}

}  // namespace denoise
