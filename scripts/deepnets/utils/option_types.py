"""The types of the options in config.yaml: numbers, flags and the base class of all tables."""

import math
import re
import sys
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

# YAML 1.1 reads 1e-3 (without a dot) as text. Users write it, so it is accepted as a number.
_EXPONENT_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _as_float(value: Any) -> Any:
    if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value.strip()):
        value = float(value)
    if type(value) is int and abs(value) > sys.float_info.max:  # pydantic would not call it a number
        return math.inf if value > 0 else -math.inf
    return 0.0 if value == 0 and isinstance(value, float) else value  # -0.0 is no other value, and no reason to retrain


AcceptExponent = BeforeValidator(_as_float)


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value  # 3.0 is no other value than 3


# The bounds come before the validator: after it, pydantic would leave them out of the JSON schema. Each option has its
# own upper bound: pydantic would ignore it if the type had one, too.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AcceptExponent]
PositiveNumber = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), AcceptExponent]
NonNegativeNumber = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), AcceptExponent]
Probability = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False), AcceptExponent]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False), AcceptExponent, AfterValidator(_whole)]
# 0.5, 2, 2.5: a whole number stays one, in specs too.
PositiveAmount = Annotated[
    float,
    Field(strict=True, gt=0, allow_inf_nan=False),
    AcceptExponent,
    AfterValidator(_whole),
    PlainSerializer(_whole, return_type=int | float),
]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
MAX_SEED = 2**32 - 1  # the largest seed of NumPy's generators
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
# In pixels. A larger number is most likely a typing mistake, and would fill the disk with arrays.
MAX_IMAGE_SIZE = 4096
Flag = Annotated[bool, Field(strict=True)]


def measured_in(unit: str) -> Any:
    """Give a number of an `Annotated` type its unit, for docs/configuration.md; the JSON schema leaves units out."""
    return Field(json_schema_extra={"unit": unit})


Fraction = Annotated[Number, measured_in("fraction")]
Degrees = Annotated[Number, measured_in("degrees")]
Pixels = Annotated[NonNegativeInt, measured_in("px")]


class StrictModel(BaseModel):
    """A table of options: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
