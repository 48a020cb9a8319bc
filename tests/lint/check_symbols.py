"""The exports of the built library, libturbo.map and the TURBO_API declarations are the same set.

usage: check_symbols.py INCLUDE_DIR LIBTURBO_MAP LIBTURBO_SO
"""
import pathlib
import re
import subprocess
import sys


def main(include: str, version_map: str, library: str) -> int:
    declared = set()
    for path in pathlib.Path(include).rglob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        declared |= set(re.findall(r"^TURBO_API\b[^;(]*?\b(turbo_\w+)\s*\(", text, re.M))
    mapped = set(re.findall(r"^\s+(turbo_\w+);", pathlib.Path(version_map).read_text(), re.M))
    listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in listing.splitlines() if " T " in line}
    bad = [f"{name}: {what}" for names, what in (
        (declared - mapped, "declared, not in libturbo.map"), (mapped - declared, "in libturbo.map, not declared"),
        (mapped - exported, "in libturbo.map, not exported"), (exported - mapped, "exported, not in libturbo.map"),
    ) for name in sorted(names)]
    print("\n".join(bad) or f"symbols: {len(declared)} declared, mapped and exported")
    return bool(bad) or not declared


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
