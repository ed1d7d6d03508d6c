"""The types of the options in config.yaml: numbers, flags and the base class of all tables."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# YAML 1.1 reads 1e-3 (without a dot) as text. Users write it, so it is accepted as a number.
_EXPONENT_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _exponent_string_to_float(value: Any) -> Any:
    if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


_AcceptExponent = BeforeValidator(_exponent_string_to_float)

# The bounds come before the validator: after it, pydantic would leave them out of the JSON schema.
Number = Annotated[float, Field(strict=True), _AcceptExponent]
PositiveNumber = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), _AcceptExponent]
NonNegativeNumber = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), _AcceptExponent]
Probability = Annotated[float, Field(strict=True, ge=0, le=1), _AcceptExponent]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class StrictModel(BaseModel):
    """A table of options: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
