"""What pyproject.toml says of the package holds: it declares what is imported, and ships what is there."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "likewise"


def described() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared() -> None:
    project = described()["project"]
    extras = project["optional-dependencies"]
    used = [one for name, needs in extras.items() if name not in ("dev", "peers") for one in needs]
    declared = [*project["dependencies"], *used]
    names = {plain(re.split(r"[<>=!~;\[ ]", one)[0]) for one in declared}
    imported: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(one.name.split(".")[0] for one in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                imported.add(node.module.split(".")[0])
    others = imported - sys.stdlib_module_names - {"likewise"}
    from_packages = packages_distributions()
    undeclared = [
        one for one in sorted(others) if not names & {plain(name) for name in from_packages.get(one, [one])}
    ]
    assert undeclared == []


def test_what_is_shipped_is_there() -> None:
    patterns = described()["tool"]["setuptools"]["package-data"]["likewise"]
    assert [pattern for pattern in patterns if not list(PACKAGE.glob(pattern))] == []
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == {path for pattern in patterns for path in PACKAGE.glob(pattern)}
