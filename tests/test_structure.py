"""The rules of the tree that import-linter cannot see: sizes of files and folders, and hidden import circles.

Imports inside functions and under TYPE_CHECKING count too.
"""

import ast
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src"
PACKAGE = ROOT / "likewise"
MAX_FILES = 20
MAX_LINES = 350


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def imported(name: str) -> set[str]:
    """Modules of the project that a file names, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {target if target in FILES else node.module for target in targets}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            parts = name.split(".")[: len(name.split(".")) - node.level + (name in PACKAGES)]
            base = ".".join([*parts, *(node.module or "").split(".")]).rstrip(".")
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in FILES else base for a in node.names}
    return found & FILES.keys() - {name}


def on_a_circle(edges: dict[str, set[str]]) -> list[str]:
    """Nodes from which one can walk back to themselves."""
    found = []
    for start in edges:
        seen: set[str] = set()
        stack = list(edges[start])
        while stack:
            here = stack.pop()
            if here not in seen:
                seen.add(here)
                stack += edges.get(here, ())
        if start in seen:
            found.append(start)
    return sorted(found)


def test_no_circles_of_files() -> None:
    # A package's __init__ only hands names on.
    edges = {name: imported(name) - PACKAGES for name in FILES if name not in PACKAGES}
    assert on_a_circle(edges) == []


def test_no_circles_of_folders() -> None:
    edges: dict[str, set[str]] = defaultdict(set)
    for name in FILES:
        room = ".".join(name.split(".")[:2])
        if room != "likewise":
            edges[room] |= {".".join(other.split(".")[:2]) for other in imported(name)} - {room, "likewise"}
    assert on_a_circle(edges) == []


def test_no_large_files_or_folders() -> None:
    lines = {str(path.relative_to(PACKAGE)): path.read_text().count("\n") for path in FILES.values()}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
    counts = Counter(
        str(path.parent.relative_to(PACKAGE)) for path in FILES.values() if path.stem != "__init__"
    )
    assert {folder: count for folder, count in counts.items() if count > MAX_FILES} == {}


def test_circles_are_seen() -> None:
    assert on_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
