"""Edits of a study: each is a function that takes the study's folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

Edit = Callable[[Path], None]


def replace(name: str, old: str, new: str) -> Edit:
    """Replace a text that occurs once in a file."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} should have this once: {old}"
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def config(old: str, new: str) -> Edit:
    return replace("config.yaml", old, new)


def module(name: str, old: str, new: str) -> Edit:
    return replace(f"scripts/deepnets/{name}.py", old, new)


def append(name: str, text: str) -> Edit:
    def edit(folder: Path) -> None:
        with open(folder / name, "a", encoding="utf-8") as file:
            file.write(text)

    return edit


def changed_module(name: str) -> Edit:
    """Add a statement to a module."""
    return append(f"scripts/deepnets/{name}.py", "\nNEW = True\n")


def delete(*names: str) -> Edit:
    def edit(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return edit


def truncate(name: str) -> Edit:
    return lambda folder: os.truncate(folder / name, 100)


def touch(pattern: str) -> Edit:
    def edit(folder: Path) -> None:
        files = [path for path in folder.glob(pattern) if path.is_file() and ".snakemake" not in path.parts]
        assert files
        for path in files:
            os.utime(path)

    return edit


def shift_clock(pattern: str, days: int) -> Edit:
    """Move the times of files, as a clock that jumped while they were written would have."""

    def edit(folder: Path) -> None:
        for path in folder.glob(pattern):
            time = path.stat().st_mtime + days * 24 * 3600
            os.utime(path, (time, time))

    return edit


def move_away(name: str) -> Edit:
    return lambda folder: (folder / name).rename(folder / "elsewhere")


def both(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def comment_everywhere(folder: Path) -> None:
    """A comment at the end of every code file, and another docstring at its start."""
    for path in [*folder.glob("scripts/**/*.py"), *folder.glob("workflow/rules/*.smk"), folder / "Snakefile"]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py" and text.startswith('"""'):
            text = text.replace('"""', '"""Better said. ', 1)
        path.write_text(text + "\n# An afterthought.\n", encoding="utf-8")


def clone_again(folder: Path) -> None:
    """Replace the code by a fresh copy of it, as a new clone has it: new files with new times, no compiled ones."""
    for name in ("scripts", "workflow", "profiles"):
        (folder / name).rename(folder / "old")
        shutil.copytree(folder / "old", folder / name, copy_function=shutil.copyfile)
        shutil.rmtree(folder / "old")


def absolute_path(folder: Path) -> None:
    config("path: shapes", f"path: {folder / 'shapes'}")(folder)


def lose_records(folder: Path) -> None:
    shutil.rmtree(folder / ".snakemake")


def copy_image(folder: Path) -> None:
    shutil.copy(folder / "shapes/train/a|b/0.png", folder / "shapes/train/a|b/more.png")
