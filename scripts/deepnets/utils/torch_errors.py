"""Recognise failures of torch and the system that have no exception class of their own."""

import re

# The third is the dynamic linker's, which maps libraries of torch: `ulimit -v` may be smaller than they are.
_OUT_OF_MEMORY = re.compile("(cannot|can't) allocate memory|out of memory|failed to map segment", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a GPU.

    torch is not imported here, because Snakemake reads the configuration without it; so its errors are recognised by
    their text.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError | ImportError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


def is_failed_compilation(error: Exception) -> bool:
    """Whether torch.compile failed: it could not compile the network, or there is no C++ compiler.

    The error's classes are recognised by the modules that define them.
    """
    modules = [kind.__module__ for kind in type(error).__mro__]
    return any(module.startswith(("torch._dynamo.", "torch._inductor.")) for module in modules)
