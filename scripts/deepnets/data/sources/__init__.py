"""The registry of data sources: one module of this folder per `source:` that config.yaml can name.

Every source module offers
    Options                                      what config.yaml may say of such a dataset (a DatasetOptions)
    download(raw_spec, dataset, mirror, folder)  put the raw files into `folder`; returns what raw.json says
    read(options, raw)                           from raw files (Raw) to decode.ImageSource, for the prepare stage
and imports torchvision, scikit-learn, Pillow and requests inside its functions only: config.yaml is checked without.
"""

import importlib
from types import ModuleType
from typing import Annotated, Literal

from pydantic import Field, field_validator

from deepnets.data.search_paths import is_secure
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import Flag, StrictModel
from deepnets.utils.text import nearest

SPLITS = ("train", "test")
# In pixels; more than anyone trains on is a slip of the finger that would fill the disk with arrays.
ImageSide = Annotated[int, Field(gt=0, le=4096, strict=True)]
_SOURCES = ("folder", "sklearn_digits", "torchvision")


class DatasetOptions(StrictModel):
    """What every dataset of config.yaml may say. A source's Options adds its own keys and four facts, as properties:

    native_shape   (channels, height, width) of the source's own images
    num_classes    number of classes
    native_flips   whether a mirrored image keeps its class
    raw_spec()     what identifies the raw files
    """

    source: str
    mirror: str | None = Field(
        default=None,
        min_length=1,
        description="Folder or https:// address that has the raw files, tried before the official addresses.",
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
        description="The published dataset that this one stands for: its published figures and `on:` settings apply.",
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
    def num_classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def native_flips(self) -> bool:
        """Whether a mirrored image of this source keeps its class."""
        raise NotImplementedError

    def raw_spec(self) -> dict:
        """What identifies the raw files: the spec of the download stage."""
        raise NotImplementedError

    def local_state(self, dataset: str) -> str | None:
        """What changes with the user's own files while raw_spec() stays the same; None where nothing can change."""
        return None

    @property
    def own_files(self) -> str | None:
        """The user's own folder or archive that the images come from; None where they can be downloaded."""
        return None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the prepared images."""
        channels, height, width = self.native_shape
        return (self.channels or channels, self.size or height, self.size or width)

    @property
    def flips(self) -> bool:
        """Whether training may mirror images left to right."""
        return self.native_flips if self.horizontal_flip is None else self.horizontal_flip

    def prepared_spec(self) -> dict:
        """What identifies the prepared arrays, defaults resolved: the spec of the prepare stage."""
        channels, height, _ = self.input_shape
        return {**self.raw_spec(), "size": height, "channels": channels}

    def spec(self) -> dict:
        """What identifies the dataset to training: the prepared arrays, and whether they may be mirrored."""
        return {**self.prepared_spec(), "horizontal_flip": self.flips}


def available() -> list[str]:
    """Names of all sources, sorted."""
    return list(_SOURCES)


def source(name: str) -> ModuleType:
    """The module of one source.

    Raises:
        UserError: there is no such source; the message has the nearest name or all.
    """
    if name not in _SOURCES:
        raise UserError(f"unknown source {name!r}; {nearest(name, _SOURCES)}")
    return importlib.import_module(f"{__name__}.{name}")


def parse_spec(spec: dict) -> DatasetOptions:
    """The options that `prepared_spec()` or `spec()` was taken from (without mirror, variant_of and note)."""
    return source(spec["source"]).Options(**spec)
