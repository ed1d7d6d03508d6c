"""The class of a network module's ABOUT: its name for readers, what is special about it, its look and its cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# As matplotlib takes it; the tuple has an offset and the lengths on and off, in line widths.
LineStyle = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]


def image_pixels(_options: Mapping[str, Any], side: int) -> float:
    """Pixels of a square image: the work of a network whose options do not change the size of its maps."""
    return side**2


@dataclass(frozen=True)
class Cost:
    """The cost of a network on a CPU, as measured by `make bench` and in the run of docs/runs/reference.

    Attributes:
        parameters: in millions.
        kilobytes: memory for each pixel of each image of a batch, in float32, which takes more than bfloat16.
        evaluation_kilobytes: the same without a backward pass; twice the value measured in bfloat16.
        microseconds: time of one core for each pixel of an image, forward and backward, in bfloat16; float32 takes
            about three times as long.
        pixels: takes the network's options and the side of the images in pixels; returns the pixels of an image to
            which the cost is in proportion, where the network enlarges images or options change its larger maps.
    """

    parameters: float
    kilobytes: float
    evaluation_kilobytes: float
    microseconds: float
    pixels: Callable[[Mapping[str, Any], int], float] = image_pixels


@dataclass(frozen=True)
class About:
    """What readers and plans need to know of a network; changing it retrains nothing: it does not count as code.

    Attributes:
        display_name: the network's name as its paper writes it; by default the module's name.
        differs: how it departs from the network that its name stands for, as a clause without full stop, for the report
            and summary.txt; by default nothing is reported.
        color: "#rrggbb", together with `marker` and `linestyle`; by default the look depends on the model's name.
        marker: as matplotlib takes it.
        linestyle: as matplotlib takes it.
        cost: by default it is estimated from the network's summary.json.
    """

    display_name: str | None = None
    differs: str | None = None
    color: str | None = None
    marker: str | None = None
    linestyle: LineStyle | None = None
    cost: Cost | None = None
