"""torchvision, imported without torch.compile, which takes 2 s of processor time and torchvision's own modules 0.3.

torchvision imports it for one answer, in an operator (roi_align) that no classifier has.

    from deepnets.utils.light_torchvision import torchvision
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


class _LoadedOnUse(ModuleType):
    """Stands in for the compiler's module while torchvision is imported."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """The real module's answer; it is loaded when the operator asks."""
        from torch._dynamo.utils import is_compile_supported

        return is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        """What other versions of torchvision may import: of the real module, at once."""
        if name.startswith("__"):  # the import system asks for __path__, for example
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        from torch._dynamo import utils

        return getattr(utils, name)


@contextmanager
def _compiler_loaded_on_use() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = sys.modules[_COMPILER] = _LoadedOnUse(_COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


with _compiler_loaded_on_use():
    import torchvision

__all__ = ["torchvision"]
