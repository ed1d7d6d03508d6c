"""How long jobs wait, how often they try again and how often they save: no result depends on these numbers."""

from datetime import timedelta

# Downloads.
ATTEMPTS = 4  # that bring no further byte; a line that breaks every few MB gets as many as it needs
BACKOFF_SECONDS = 1.0  # waits 1, 2, 4 s between attempts without a further byte
TIMEOUT_SECONDS = (10, 60)  # to connect, to wait for the next bytes

# Processes that decode images.
PARENT_CHECK_SECONDS = 1.0

# Training.
SAVE_SHARE = 0.02  # largest fraction of the training time that saving may take
SAVE_SECONDS = 180.0  # within a long epoch, the least time between two saves
SAVED_BYTES_PER_SECOND = 3e8  # with checksum and flush, on an ordinary disk: an estimate for the first save
PROGRESS_SECONDS = 5.0  # between two writes of .train.progress
# A training run without one for this long was killed. Clocks of machines differ, and NFS shows files a minute late.
LOST_SECONDS = 180.0
WAIT_SECONDS = 60.0  # for another trainer of the same experiment
# For another process of the same training run, if it hangs: torchrun notices at once when one dies. It must be longer
# than a save takes.
GROUP_TIMEOUT = timedelta(minutes=10)
