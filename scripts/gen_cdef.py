"""Generate the declarations of bindings/cffi from the public headers.

The headers are written in a small, regular part of C. Whatever this script does not understand is an error, so that no
declaration can be left out in silence; tests/lint/check_cdef.py fails when the checked-in file is not what comes out.

usage: gen_cdef.py [INCLUDE_DIR [OUTPUT]]    without arguments: from include/ to bindings/cffi/src/turbo_cffi/_cdef.py
"""
import pathlib
import re
import sys
from typing import List, NamedTuple, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "bindings/cffi/src/turbo_cffi/_cdef.py"
STANDARD = {"stddef.h", "stdint.h"}  # cffi knows size_t, uint64_t and so on
NOT_DECLARATIONS = "turbo/export.h"  # compiler attributes only
WIDTH = 116

FUNCTION_POINTER = re.compile(r"(?P<result>[\w ]+?[ *]*)\(\*(?P<name>\w+)\)\((?P<args>[^()]*)\)$")
STRUCT = re.compile(r"typedef struct (?P<name>\w+) \{(?P<body>.*)\} (?P=name)$")


class Header(NamedTuple):
    """What the headers say, in their order."""

    constants: List[str]
    types: List[str]
    functions: List[str]  # declarations
    trampolines: List[str]  # extern "Python" functions, one for each callback type
    sized: List[str]  # structs that begin with their size


def read(include: pathlib.Path, name: str, seen: set) -> str:
    """A header and, before it, those it includes; without comments."""
    if name in seen or name == NOT_DECLARATIONS:
        return ""
    seen.add(name)
    text = re.sub(r"/\*.*?\*/", " ", (include / name).read_text(), flags=re.S).replace("\\\n", " ")
    before = []
    for kind, other in re.findall(r'^#include ([<"])([^">]+)[">]', text, re.M):
        if kind == '"':
            before.append(read(include, other, seen))
        elif other not in STANDARD:
            raise SystemExit(f"gen_cdef: {name}: unknown header <{other}>")
    return "".join(before) + text


def split(text: str) -> Tuple[List[str], List[str]]:
    """Preprocessor lines, and statements with single spaces."""
    text = re.sub(r"^#ifdef __cplusplus\n(.*?)^#endif.*?$", "", text, flags=re.M | re.S)
    lines = re.findall(r"^#.*$", text, re.M)
    rest = re.sub(r"\s+", " ", re.sub(r"^#.*$", "", text, flags=re.M)).strip()
    statements, start, depth = [], 0, 0
    for at, char in enumerate(rest):
        depth += (char == "{") - (char == "}")
        if char == ";" and depth == 0:
            statements.append(rest[start:at].strip())
            start = at + 1
    if rest[start:].strip():
        raise SystemExit(f"gen_cdef: not understood: {rest[start:].strip()}")
    return lines, statements


def take_macro(out: Header, line: str) -> None:
    if re.match(r"#(include|ifndef \w+$|endif)", line):
        return
    match = re.match(r"#define (\w+)(?: +(.*?))? *$", line)
    if match is None:
        raise SystemExit(f"gen_cdef: not understood: {line}")
    name, value = match.groups()
    if value is None:  # an include guard
        return
    initialiser = re.match(r"\{sizeof\((\w+)\)((?:, *(?:0|NULL|\{0\}))*)\}$", value)
    if initialiser is not None and name == initialiser.group(1).upper() + "_INIT":
        out.sized.append(initialiser.group(1))
    elif value.startswith("{"):
        raise SystemExit(f"gen_cdef: {name} does more than to set a size")
    elif value.startswith('"'):
        out.constants.append(f"static const char *const {name};")
    elif re.match(r"-?\d+$", value):
        out.constants.append(f"#define {name} {value}")
    else:
        out.constants.append(f"#define {name} ...")  # the compiler works it out


def trampoline(name: str, match: "re.Match[str]") -> str:
    return f"{match['result'].strip()} turbo_py_{name}({match['args']});".replace("* turbo_py", "*turbo_py")


def take_struct(out: Header, match: "re.Match[str]") -> None:
    """A member a line; members that are functions have trampolines too."""
    name = match["name"]
    members = [member.strip() for member in match["body"].split(";") if member.strip()]
    out.types.append(f"typedef struct {name} {{\n" + "".join(f"    {member};\n" for member in members) + f"}} {name};")
    for member in members:
        function = FUNCTION_POINTER.match(member)
        if function is not None:
            short = re.sub(r"^turbo_|_ops$", "", name)
            out.trampolines.append(trampoline(f"{short}_{function['name']}", function))


def take_statement(out: Header, text: str) -> None:
    function = re.match(r"TURBO_API ([^()]*?\bturbo_\w+\([^()]*\))$", text)
    struct = STRUCT.match(text)
    callback = FUNCTION_POINTER.match(text[len("typedef "):]) if text.startswith("typedef ") else None
    if function is not None:
        out.functions.append(function.group(1) + ";")
    elif struct is not None:
        take_struct(out, struct)
    elif callback is not None:
        out.types.append(text + ";")
        out.trampolines.append(trampoline(re.sub(r"^turbo_|_fn$", "", callback["name"]), callback))
    elif re.match(r"typedef struct (\w+) \1$", text):
        out.types.append(text + ";")
    elif re.match(r"enum \{[^{}]*\}$", text):
        values = [value.strip() for value in text[len("enum {"):-1].split(",") if value.strip()]
        if any(re.match(r"\w+ = -?\d+$", value) is None for value in values):
            raise SystemExit(f"gen_cdef: enum values are written out: {text}")
        out.types.append("enum {\n" + ",\n".join(f"    {value}" for value in values) + "\n};")
    else:
        raise SystemExit(f"gen_cdef: not understood: {text}")


def wrap(declaration: str) -> str:
    """Break a long declaration behind commas."""
    lines, rest = [], declaration
    while len(rest) > WIDTH and "\n" not in rest:
        at = rest.rindex(", ", 0, WIDTH)
        lines.append(rest[:at + 1])
        rest = "    " + rest[at + 2:]
    return "\n".join(lines + [rest])


def generate(include: pathlib.Path) -> str:
    out = Header([], [], [], [], [])
    lines, statements = split(read(include, "turbo.h", set()))
    for line in lines:
        take_macro(out, line)
    for statement in statements:
        take_statement(out, statement)
    declarations = "\n".join(wrap(text) for text in out.constants + out.types + out.functions)
    trampolines = "\n".join("    " + wrap(text) for text in out.trampolines)
    return (
        '"""The declarations of libturbo, for cffi. Generated from include/ by scripts/gen_cdef.py: do not edit."""\n\n'
        f'DECLARATIONS = """\n{declarations}\n"""\n\n'
        "# One C function for each callback type; Python defines them in callbacks.py.\n"
        f'TRAMPOLINES = """\nextern "Python" {{\n{trampolines}\n}}\n"""\n\n'
        "# Structs that begin with their size, which the caller sets.\n"
        "SIZED = (\n" + "".join(f'    "{name}",\n' for name in out.sized) + ")\n"
    )


def main(arguments: List[str]) -> int:
    include = pathlib.Path(arguments[0]) if arguments else ROOT / "include"
    output = pathlib.Path(arguments[1]) if len(arguments) > 1 else OUTPUT
    output.write_text(generate(include))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
