"""The declarations of bindings/cffi are those of the headers: the checked-in file is what scripts/gen_cdef.py makes
now, and every TURBO_API function is in it.

usage: check_cdef.py ROOT
"""
import difflib
import pathlib
import re
import sys


def main(root: pathlib.Path) -> int:
    sys.path.insert(0, str(root / "scripts"))
    sys.dont_write_bytecode = True
    import gen_cdef

    checked_in = root / "bindings/cffi/src/turbo_cffi/_cdef.py"
    old = checked_in.read_text()
    new = gen_cdef.generate(root / "include")
    bad = list(difflib.unified_diff(old.splitlines(), new.splitlines(), str(checked_in), "generated now", lineterm=""))
    if bad:
        bad.append("run: python3 scripts/gen_cdef.py")
    declared = set()
    for path in (root / "include").rglob("*.h"):
        declared |= set(re.findall(r"^TURBO_API\b[^;(]*?\b(turbo_\w+)\s*\(", path.read_text(), re.M))
    found = set(re.findall(r"^\w[\w *]*?\b(turbo_\w+)\(", new.partition("TRAMPOLINES")[0], re.M))
    bad += [f"{name}: in one of the headers and the declarations only" for name in sorted(declared ^ found)]
    print("\n".join(bad) or f"cdef: {len(declared)} functions")
    return bool(bad) or not declared


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
