"""Download and prepare a dataset that the tests made, in a folder of their own."""

from pathlib import Path

from deepnets.data import sources as datasets
from deepnets.data.download import download
from deepnets.data.image_audit import write_audit
from deepnets.data.prepare import prepare
from deepnets.utils.files import read_json


def build(tmp_path: Path, source: str, mirror: Path | None = None, **keys) -> Path:
    """Download and prepare a dataset in tmp_path/data; return its dataset.json."""
    options = datasets.source(source).Options(source=source, **keys)
    folder = tmp_path / "data" / "tiny"
    download("tiny", options.raw_spec(), str(mirror) if mirror else None, folder / "raw.json", path=options.own_path)
    unspecified = {key: keys[key] for key in ("max_megapixels", "bit_depth", "horizontal_flip") if key in keys}
    prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json", 2, **unspecified)
    return folder / "dataset.json"


def build_audit(info: Path, source: str, **keys) -> dict:
    """Audit a dataset that `build` prepared; return the content of audit.json."""
    spec = datasets.source(source).Options(source=source, **keys).prepared_spec()
    write_audit("tiny", spec, info.with_name("raw.json"), info, info.with_name("audit.json"))
    return read_json(info.with_name("audit.json"))


def prepare_again(tmp_path: Path, options: datasets.DatasetOptions) -> None:
    folder = tmp_path / "data" / "tiny"
    prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")


def assert_nothing_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    kept = {"raw", "raw.json", ".download.sha256", ".download.lock", ".unfinished", ".prepare.lock"}
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= kept
