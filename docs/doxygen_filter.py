"""Doxygen's view of a header: plain C++ comments become Doxygen's, and the inline namespace, which is for the
linker, goes.

    doxygen_filter.py FILE
"""

import re
import sys


def filtered(lines: list[str]):
    yield "/// @file"  # what the comment at the top is about
    for line in lines:
        if re.fullmatch(r"(inline namespace client_v1 \{|\}  // namespace client_v1)", line):
            yield ""
        elif match := re.fullmatch(r"(\s*)//( .*)?", line):
            yield f"{match[1]}///{match[2] or ''}"
        elif not line.startswith(("#", "}")) and (match := re.fullmatch(r"(.*\S)  // (.*)", line)):
            yield f"{match[1]}  ///< {match[2]}"
        else:
            yield line


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as header:
        print("\n".join(filtered(header.read().splitlines())))
