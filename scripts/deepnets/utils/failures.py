"""Failures that torch and the system report only in words."""

import re

_OUT_OF_MEMORY = re.compile("(cannot|can't) allocate memory|out of memory", re.IGNORECASE)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or on a GPU; torch, which is not for import here, tells it in words only."""
    told = isinstance(error, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(told)


def is_failed_compilation(error: Exception) -> bool:
    """Whether torch.compile gave up: on the network, or for want of a C++ compiler. Known by where it is defined."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    return any(module.startswith(("torch._dynamo.", "torch._inductor.")) for module in modules)
