"""What the documents say holds: their Python runs, their links lead somewhere, the reference is current."""

from __future__ import annotations

import csv
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from small_runs import small_settings

from likewise import train
from likewise.cli.main import main
from likewise.data.scenes import draw_scenes

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
RUNNABLE = re.compile(r"^<!-- run -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents have it: photos, captions.csv, two runs, the embeddings of one."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "photos").mkdir()
    scenes = draw_scenes(40, seed=5, size=32)
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "caption"])
        for number, (pixels, caption) in enumerate(zip(scenes.images, scenes.captions, strict=True)):
            name = f"photos/{number:03}.png"
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / name)
            table.writerow([name, caption])
    train(small_settings("clip", steps=2), folder / "runs" / "first", show=False)
    (folder / "runs" / "demo").symlink_to(folder / "runs" / "first")
    main(["embed", str(folder / "runs/first"), "--out", str(folder / "images.parquet"), "--device", "cpu"])
    return folder


@pytest.fixture
def inside(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("LIKEWISE_CACHE", str(workplace / "cache"))
    return workplace


@pytest.mark.parametrize(
    ("page", "count"),
    [("README.md", 1), ("README.zh-CN.md", 1), ("docs/quickstart.md", 3), ("docs/data.md", 1)],
)
def test_the_python_of_a_page_runs(page: str, count: int, inside: Path) -> None:
    blocks = RUNNABLE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len(blocks) == count
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = [target for target in LINK.findall(prose) if not target.startswith(("http://", "https://"))]
    lost = [target for target in targets if not _leads_somewhere(page, target)]
    assert not lost, f"{page.name}: {lost}"


def _leads_somewhere(page: Path, target: str) -> bool:
    name, _, fragment = target.partition("#")
    file = page.parent / name if name else page
    if not file.exists() or not file.resolve().is_relative_to(ROOT.resolve()):
        return False
    return not fragment or fragment in _anchors(file)


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = [heading.strip().lower() for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def test_the_readmes_show_the_same_code() -> None:
    """Apart from comments, which are translated."""
    english, chinese = (
        [re.sub(r"#.*|^  \S+ .*$", "", block, flags=re.MULTILINE).split() for block in FENCED.findall(text)]
        for text in ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    )
    assert english == chinese


def test_the_examples_run(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "train_clip_on_scenes.py"))["main"]
    example(["--steps", "2", "--batch-size", "16", "--scenes", "32", "--out", "runs/example"])
    assert "chance" in capsys.readouterr().out
    example = runpy.run_path(str(ROOT / "examples" / "encode_and_compare.py"))["main"]
    example(["runs/example", "photos/000.png", "photos/001.png", "--texts", "a red circle", "a blue square"])
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.endswith(".png")] == ["photos/000.png", "photos/001.png"]
    assert len(shown) == 6


@pytest.mark.slow
@pytest.mark.parametrize("page", ["commands", "methods"])
def test_the_made_pages_are_current(page: str) -> None:
    check = [sys.executable, str(ROOT / "docs" / f"make_{page}.py"), "--check"]
    done = subprocess.run(check, check=False)
    assert done.returncode == 0, f"docs/{page}.md is out of date: run `make docs`"
