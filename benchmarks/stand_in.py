"""Takes the place of python in the workflow's jobs and makes in no time the files that they would have made.

What lies ready for a job, in {READY}/{stage}/{folder of its outputs}, is copied; other outputs get a word of text.
"""

import os
import shutil
import sys

OUTPUTS = ("--output", "--png", "--svg", "--json", "--text", "--metrics-csv", "--environment")


def main() -> None:
    stage = os.path.basename(sys.argv[1]).removesuffix(".py")
    paths = [path for option, path in zip(sys.argv[2:], sys.argv[3:], strict=False) if option in OUTPUTS]
    folder = paths[0] if stage in ("train", "evaluate") else os.path.dirname(paths[0])
    ready = os.path.join(os.environ["READY"], stage, folder)
    if os.path.isdir(ready):
        os.makedirs(folder, exist_ok=True)
        for name in sorted(os.listdir(ready), reverse=True):  # .<job>.sha256 last: it must not be older than its files
            shutil.copyfile(os.path.join(ready, name), os.path.join(folder, name))
        return
    for path in paths:
        with open(path, "w") as file:
            file.write(stage)


main()
