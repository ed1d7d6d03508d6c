"""The registry of data sources: each module of this folder is one `source:` that config.yaml can name.

Every source module has
    Options             the keys of such a dataset in config.yaml (a DatasetOptions)
    download(raw_spec, dataset, mirror, folder, max_gb)
                        puts the raw files into `folder`; returns the content of raw.json
    read(options, raw)  makes an image_source.ImageSource of the raw files (raw_files.Raw)
and imports torchvision, scikit-learn, Pillow and requests only inside its functions, so that config.yaml is checked
without loading them. A module whose name starts with `_` is a helper, not a source.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

from pydantic import Field, field_validator

from deepnets.data.decode_options import LARGEST_MEGAPIXELS
from deepnets.data.search_paths import is_secure
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import MAX_IMAGE_SIZE, AcceptExponent, Flag, StrictModel, measured_in
from deepnets.utils.text import nearest

MAX_DOWNLOAD_GB = 20  # 10^9 bytes of one file; a server that sends without end must not fill the disk

ImageSide = Annotated[int, Field(gt=0, le=MAX_IMAGE_SIZE, strict=True), measured_in("px")]
FoldCount = Annotated[int, Field(ge=2, le=20, strict=True)]
FOLDS = (
    "Number of test splits that all images are divided into: seed 0 is tested on the first, seed 1 on the second ...,"
    " each trained on all others; null: one test split."
)
Gigabytes = Annotated[int, Field(gt=0, le=1_000_000, strict=True)]
Megapixels = Annotated[float, Field(strict=True, gt=0, le=LARGEST_MEGAPIXELS, allow_inf_nan=False), AcceptExponent]


class DatasetOptions(StrictModel):
    """The keys that every dataset of config.yaml may have. A source's Options adds its own keys and four members:

    native_shape   (channels, height, width) of the source's own images
    num_classes    number of classes; None if only the images show it
    native_flips   whether a mirrored image keeps its class
    raw_spec()     what identifies the raw files
    """

    source: str
    mirror: str | None = Field(
        default=None,
        min_length=1,
        description="Folder or https:// address that has the raw files, tried before the official addresses.",
    )
    max_download: Annotated[Gigabytes, measured_in("GB")] = Field(
        default=MAX_DOWNLOAD_GB, description="The most that one file may have if it is downloaded, in GB."
    )
    size: ImageSide | None = Field(
        default=None, description="Side of the prepared images in pixels; null keeps the source's own."
    )
    channels: Literal[1, 3] | None = Field(
        default=None, description="1 (grayscale) or 3 (RGB) in the prepared images; null keeps the source's own."
    )
    horizontal_flip: Flag | None = Field(
        default=None, description="Whether training may mirror images left to right; null takes the source's answer."
    )
    variant_of: str | None = Field(
        default=None,
        min_length=1,
        description="The published dataset that this one stands for: its published numbers and `on:` settings apply.",
    )
    note: str | None = Field(
        default=None, min_length=1, description="A sentence that the report prints under every table of this dataset."
    )

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, mirror: str | None) -> str | None:
        if mirror and "://" in mirror and not is_secure(mirror):
            raise ValueError(f"must be a folder or an https:// address (got {mirror!r})")
        return mirror

    @property
    def native_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the source's own images."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None if only the images show it."""
        raise NotImplementedError

    @property
    def native_flips(self) -> bool:
        """Whether a mirrored image of this source keeps its class."""
        raise NotImplementedError

    def raw_spec(self) -> dict:
        """Identify the raw files: the spec of the download stage."""
        raise NotImplementedError

    def local_state(self, dataset: str) -> str | None:
        """A digest that changes with the user's own files, which raw_spec() does not see; None where none are used."""
        return None

    def check_files(self, dataset: str, raw: Path) -> None:
        """Look at the user's own files for about a second; nothing to do where none are used.

        Args:
            dataset: its name in config.yaml.
            raw: the folder of its raw files.

        Raises:
            UserError: they are not there, or not what the options say.
        """

    @property
    def decodes_files(self) -> bool:
        """Whether preparing decodes image files, which several processes do sooner."""
        return False

    @property
    def usual_train_images(self) -> int:
        """How many training images to assume until the dataset is prepared: as many as MNIST has."""
        return 60_000

    @property
    def number_of_folds(self) -> int | None:
        """How many folds the images are divided into; None: there is a single test split."""
        return None

    @property
    def own_files(self) -> str | None:
        """The folder or archive that the user must supply; None where the images can be downloaded."""
        return None

    @property
    def own_path(self) -> str | None:
        """The path of the user's files, where raw_spec() has only its last part; else None."""
        return None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the prepared images."""
        channels, height, width = self.native_shape
        return (self.channels or channels, self.size or height, self.size or width)

    @property
    def known_shape(self) -> tuple[int, int, int] | None:
        """`input_shape`, or None if only the images show it."""
        return self.input_shape

    @property
    def flips(self) -> bool:
        """Whether training may mirror images left to right."""
        return self.native_flips if self.horizontal_flip is None else self.horizontal_flip

    def download_arguments(self) -> list[str]:
        """Arguments of scripts/download.py that change no result: where raw files may be, and how large."""
        places = {"--mirror": self.mirror, "--path": self.own_path}
        found = [word for option, place in places.items() if place for word in (option, place)]
        return [*found, "--max-download", str(self.max_download)]

    @property
    def unsaid(self) -> dict[str, str]:
        """Key of config.yaml -> the choice where it is left out, and why, for keys that concern no array."""
        return {}

    def prepare_arguments(self) -> list[str]:
        """Arguments of scripts/prepare.py that change no result."""
        return []

    def prepared_spec(self) -> dict:
        """Identify the prepared arrays, with defaults resolved: the spec of the prepare stage."""
        channels, height, _ = self.input_shape
        return {**self.raw_spec(), "size": height, "channels": channels}

    def division(self, seed: int) -> dict:
        """What decides which of the images an experiment is tested on; datasets of the same files may differ in it."""
        return {"folds": self.number_of_folds, **self.of_seed(seed)}

    def of_seed(self, seed: int) -> dict:
        """Identify the splits of an experiment, where its seed chooses them: the fold that it is tested on."""
        return {} if self.number_of_folds is None else {"fold": seed % self.number_of_folds}

    def spec(self) -> dict:
        """Identify the dataset in training: the prepared arrays, and whether they may be mirrored."""
        return {**self.prepared_spec(), "horizontal_flip": self.flips}


def available() -> list[str]:
    """Names of all sources, sorted."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def source(name: str) -> ModuleType:
    """The module of one source.

    Raises:
        UserError: there is no such source; the message has the nearest name or all.
    """
    if name not in available():
        raise UserError(f"unknown source {name!r}; {nearest(name, available())}")
    return importlib.import_module(f"{__name__}.{name}")


def parse_spec(spec: dict) -> DatasetOptions:
    """The options that `prepared_spec()` or `spec()` was taken from (without those that identify no array)."""
    return source(spec["source"]).Options(**spec)
