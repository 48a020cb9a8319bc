"""Everything that docs/http1.md names exists, and each of its requirements is held by a test.

Names stand in backquotes; the page's first table says what they look like. They are checked wherever they stand. In a
table whose last column is "tests" each row needs one. A requirement also needs a known level, and a function that
implements it, or "not met: ..." with what happens instead; then it may be without a test. Every setting
(libturbo/settings.h) has a row in the table of limits, or in that of the other settings. Of docs/batching.md the table of tests is
checked likewise.

usage: check_http1.py PROJECT_DIR
"""
import fnmatch
import re
import sys
from pathlib import Path

COLUMNS = ["§", "level", "requirement", "where", "tests"]
EXAMPLES = ["written", "is"]
SETTINGS = {"limit", "setting"}  # first columns of those tables
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT"}
CODE = re.compile(r"(\w+\.c):(\w+)")
CONFORMANCE = re.compile(r"([\w-]+\.http): (.+)")
UNIT = re.compile(r"(\w+)::(\w+)")
END_TO_END = re.compile(r"(test_\w+\.py)::(test_\w+)")
BATTERY = re.compile(r"([a-z0-9-]+)\.([\w.*-]+)")
BATTERY_FILES = re.compile(r".*\.(md|c|h|py|http)")  # names of files, not of cases


def functions(path: Path) -> set:
    """The functions that a C file defines."""
    return set(re.findall(r"^[A-Za-z_][\w *]*?\b(\w+)\([^;{}]*\)\s*\{", path.read_text(), re.M))


class Project:
    def __init__(self, root: Path) -> None:
        sys.path.insert(0, str(root / "tests/http1"))
        from cases import all_cases

        self.cases = [case.id for case in all_cases()]
        self.topics = {case.split(".")[0] for case in self.cases}
        self.code = {path.name: functions(path) for path in (root / "libturbo").glob("*.c")}
        self.conformance = {(path.name, name) for path in (root / "tests/conformance").glob("*.http")
                            for name in re.findall(r"^=== (.+)$", path.read_text(), re.M)}
        self.units = {pair for path in (root / "tests/unit").glob("*.c") for pair in re.findall(
            r"^(?:Test|ParameterizedTest)\((?:[^(),]*\*\w+, )?(\w+), (\w+)", path.read_text(), re.M)}
        self.end_to_end = {(path.name, name) for folder in ("tests/e2e", "bindings/python/tests")
                           for path in (root / folder).glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}

    def find(self, name: str) -> tuple:
        """What a name is ("code", "test", or "" when it is none that can be checked), and whether it exists."""
        if match := CODE.fullmatch(name):
            return "code", match[2] in self.code.get(match[1], ())
        for pattern, known in ((CONFORMANCE, self.conformance), (UNIT, self.units), (END_TO_END, self.end_to_end)):
            if match := pattern.fullmatch(name):
                return "test", match.groups() in known
        match = BATTERY.fullmatch(name)
        if match and not BATTERY_FILES.fullmatch(name) and match[1] not in ("file", "topic", "lint"):
            return "test", any(fnmatch.fnmatchcase(case, name) for case in self.cases)
        if re.fullmatch(r"[a-z]+\.\*", name):
            return "test", name[:-2] in self.topics
        return "", True


def cells_of(line: str) -> list:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def check_cell(project: Project, cell: str, kind: str, needed: bool) -> list:
    names = re.findall(r"`([^`]+)`", cell)
    missing = [f"no {kind}"] if needed and not names else []
    return missing + [f"`{name}` is no {kind}" for name in names if project.find(name)[0] != kind]


def is_unmet(cells: list) -> bool:
    return cells[3].startswith("not met")


def check_row(project: Project, header: list, cells: list) -> list:
    """What is wrong with a row of a table whose last column is "tests"."""
    if len(cells) != len(header):
        return [f"{len(cells)} columns"]
    if header != COLUMNS:
        return check_cell(project, cells[-1], "test", True)
    bad = [] if cells[1] in LEVELS else [f"level {cells[1]!r}"]
    if not is_unmet(cells):
        bad += check_cell(project, cells[3], "code", True)
    elif not re.match("not met.*: .{20}", cells[3]):
        bad.append("not met, and not said what happens instead")
    return bad + check_cell(project, cells[4], "test", not is_unmet(cells))


def check_batching(project: Project, page: Path) -> list:
    header, bad, rows = [], [], 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        cells = cells_of(line)
        if not cells or not header:
            header = cells
        elif header[-1] == "tests" and not set(cells[0]) <= set("-"):
            rows += 1
            bad += [f"{page.name}:{number}: {why}" for why in check_row(project, header, cells)]
            bad += [f"{page.name}:{number}: there is no `{name}`" for name in re.findall(r"`([^`]+)`", cells[-1])
                    if not project.find(name)[1]]
    return bad if rows else [f"{page.name}: no table of tests"]


def settings_of(root: Path) -> set:
    return set(re.findall(r"^    X\((\w+),", (root / "libturbo/settings.h").read_text(), re.M))


def main(root: Path) -> int:
    project = Project(root)
    unlisted = settings_of(root)
    page = root / "docs/http1.md"
    bad, rows, tests = [], [], set()
    header: list = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        cells = cells_of(line)
        if not cells or not header:
            header = cells
        elif header[-1] == "tests" and not set(cells[0]) <= set("-"):
            bad += [f"{page.name}:{number}: {why}" for why in check_row(project, header, cells)]
            rows += [cells] if header == COLUMNS else []
            unlisted -= set(re.findall(r"\w+", cells[0])) if header[0] in SETTINGS else set()
        for name in [] if header == EXAMPLES else re.findall(r"`([^`]+)`", line):
            kind, exists = project.find(name)
            tests |= {name} if kind == "test" else set()
            if not exists:
                bad.append(f"{page.name}:{number}: there is no `{name}`")
    bad += [f"{page.name}: no test is named for the setting {name}" for name in sorted(unlisted)]
    bad += check_batching(project, root / "docs/batching.md")
    unmet = sum(is_unmet(row) for row in rows)
    print("\n".join(bad) or f"http1: {len(rows)} requirements, {len(rows) - unmet} met, {unmet} not; "
          f"{len(tests)} tests named")
    return bool(bad) or not rows


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
