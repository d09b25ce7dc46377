"""What the pages show runs as written, and prints what they say it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
WRITTEN = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: str) -> list[tuple[str, str]]:
    """The code blocks of a page in their order: language and text."""
    return BLOCK.findall((ROOT / page).read_text())


def play(page: str, folder: Path) -> list[tuple[str, str]]:
    """Run a page's programs and manifests in one folder, as its reader does; each output beside the block of text
    that follows it in the page."""
    played: list[tuple[str, str]] = []
    output = ""
    for language, text in blocks(page):
        if language == "python":
            (folder / "job.py").write_text(text)
            output = run(folder, "job.py")
        elif language == "yaml":
            (folder / "job.yaml").write_text(text)
            assert run(folder, "-m", "tidemill", "validate", "job.yaml").startswith("job.yaml: ok")
            run(folder, "-m", "tidemill", "run", "job.yaml")
            files = sorted((folder / "out").glob("*/*.json"))
            output = "".join(file.read_text() for file in files)
        elif language == "text":
            played.append((output, text))
    return played


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/testing.md"])
def test_what_a_page_shows_runs_as_written(page: str, tmp_path: Path) -> None:
    played = play(page, tmp_path)
    assert played, f"{page} shows no output"
    for output, shown in played:
        if shown.startswith("{"):  # rows of a stream have no order
            assert sorted(output.splitlines()) == sorted(shown.splitlines())
        else:
            assert output.strip() == shown.strip()


def test_the_program_and_the_manifest_stay_short() -> None:
    for language, text in blocks("README.md"):
        assert language == "text" or len(text.splitlines()) <= 20


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", BLOCK.sub("", page.read_text()))):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
