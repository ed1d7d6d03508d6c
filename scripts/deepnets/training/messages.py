"""Log lines of training that are too long to stand where they are logged."""

NO_CUDA = (
    "%s: on the CPU: torch cannot use the GPU (a CPU build, or the driver is too old); training runs still wait for"
    " each other's GPU, unless you call Snakemake with --resources gpu=0"
)
GPU_NOT_REQUESTED = (
    "%s: on the CPU: no GPU was requested, though torch sees one; to use it, leave out --resources gpu=0, or set"
    " CUDA_VISIBLE_DEVICES=0 if nvidia-smi does not list it (on a cluster, set gpu: 1 in the profile)"
)
SPLIT = (
    "%s: out of memory; continuing from the last saved state with each batch of %d in %d micro-batches "
    "(accumulation: %d in the recipe starts like this; a smaller batch_size changes the steps)"
)
