"""Every error that a function of include/turbo/ documents is provoked by a named test.

A test says what it provokes in a comment directly above it, and does so in its own body:

    /* errors: turbo_server_listen TURBO_EADDRINUSE, TURBO_EADDR; turbo_server_start TURBO_ESTATE */
    Test(api_server, listen_tells_why_not) { ... }

The pairs come from each `@return`, with what "as turbo_other()" and "what turbo_other() returned" stand for. Fails for
a pair without a test, for a comment whose test does not name the function and the error, and for one that no header
documents.

usage: check_errors.py INCLUDE_DIR TESTS_DIR [--table]
"""
import pathlib
import re
import sys


def error_names(include: pathlib.Path) -> set:
    return set(re.findall(r"^\s+(TURBO_E[A-Z]+) = -\d+", (include / "turbo/error.h").read_text(), re.M))


def contracts(include: pathlib.Path) -> dict:
    """Function -> the text of its @return."""
    found = {}
    for path in sorted(include.rglob("*.h")):
        text = path.read_text()
        for match in re.finditer(r"^TURBO_API\b[^;(]*?\b(turbo_\w+)\s*\(", text, re.M):
            comment = text[text.rfind("/**", 0, match.start()):match.start()]
            part = re.search(r"@return(.*?)(?=\n \*\s*\n|\n \*\s*@|\*/)", comment, re.S)
            found[match.group(1)] = re.sub(r"\s*\n \*\s*", " ", part.group(1)) if part else ""
    return found


def documented(include: pathlib.Path) -> dict:
    """Function -> the errors that it may return."""
    names, texts = error_names(include), contracts(include)
    out = {name: {e for e in re.findall(r"TURBO_E[A-Z]+\b", text) if e in names} for name, text in texts.items()}
    for name, text in texts.items():
        for other in re.findall(r"\b(?:[Aa]s|what) (turbo_\w+)\(\)", text):
            out[name] |= out[other]
    return out


def marked(tests: pathlib.Path):
    """(place, test, body, function, error) for each pair that a comment names."""
    for path in sorted(tests.rglob("*.c")):
        text = path.read_text()
        for match in re.finditer(r"/\* errors: (.*?)\*/(\s*)", text, re.S):
            test = re.compile(r"(?:Parameterized)?Test\(([^)]*)\)").match(text, match.end())
            place = f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}"
            end = text.find("\n}", match.end())
            name = re.sub(r"\s+", "", test.group(1)).replace(",", ".") if test and match.group(2) == "\n" else ""
            for group in re.sub(r"\s*\n \*\s*|\s+", " ", match.group(1)).strip().split(";"):
                function, _, errors = group.strip().partition(" ")
                for error in errors.split(","):
                    yield place, name, text[match.end():end], function, error.strip()


def main(include: str, tests: str, table: bool) -> int:
    wanted = documented(pathlib.Path(include))
    bad, have = [], {}
    for place, test, body, function, error in marked(pathlib.Path(tests)):
        if not test:
            bad.append(f"{place}: no test stands directly below the comment")
        elif error not in wanted.get(function, ()):
            bad.append(f"{place}: {function} does not document {error}")
        elif not re.search(rf"\b{function}\(", body) or not re.search(rf"\b{error}\b", body):
            bad.append(f"{place}: {test} does not name both {function}() and {error}")
        else:
            have.setdefault((function, error), []).append(test)
    pairs = sorted((f, e) for f, errors in wanted.items() for e in errors)
    bad += [f"{function}: no test provokes {error}" for function, error in pairs if (function, error) not in have]
    if table:
        for pair in pairs:
            print(f"{pair[0]:36} {pair[1]:18} {', '.join(have.get(pair, ['-']))}")
    print("\n".join(bad) or f"errors: {len(pairs)} pairs of function and error, each provoked by a test")
    return bool(bad) or not pairs


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--table"]
    sys.exit(main(arguments[0], arguments[1], "--table" in sys.argv))
