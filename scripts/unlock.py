"""Remove the lock that a killed Snakemake has left in the working folder; a part of `make report`.

    python scripts/unlock.py

While any Snakemake of this workflow is at work here, plain or called by make, nothing is removed: it holds the file
.snakemake/alive (workflow/rules/common.smk) by a lock of the kernel's, which ends with its process.
"""

import fcntl
from pathlib import Path

LOCKS, ALIVE = Path(".snakemake/locks"), Path(".snakemake/alive")


def main() -> None:
    if not any(LOCKS.glob("*.lock")):
        return
    try:
        with open(ALIVE, "a") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for lock in LOCKS.glob("*.lock"):  # read again: only from here on nobody else can be at work
                lock.unlink()
    except OSError:  # somebody is, or nobody can tell: Snakemake itself then says what to do
        return
    print("Removed the lock of a run that was killed; going on from what it has left.")


if __name__ == "__main__":
    main()
