"""How many threads each training of a study has on one machine: so many that the study ends soonest.

Trainings side by side use the cores better than threads of one, which wait for each other after every layer. So each
has one, unless cores would be idle for long: where one training takes much longer than the others, where there are more
cores than trainings, or where the memory holds few at a time.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# Of each training, whatever its threads: starting, loading, writing the results; measured in the run of docs/reference.
START_SECONDS = 10
# Share of a training that only one thread can do (Amdahl's law): two threads did the work of 1.61 to 1.89 trainings
# side by side in the six pairs of docs/reference/bench.json; 1.7 is reckoned with. More than two were not measured.
SERIAL_SHARE = 0.18
# How much sooner a study must end for its trainings to have more than one thread: the estimates are no better.
WORTH = 0.05
TRIED = 20_000  # choices at most, fewer the larger the study is: about a tenth of a second's worth


@dataclass(frozen=True, order=True)
class Training:
    """What one training takes: seconds on one core, and memory in MB."""

    core_seconds: float
    memory_mb: int

    def seconds(self, threads: int) -> float:
        """Time from start to end."""
        return START_SECONDS + self.core_seconds / speed_up(threads)


def speed_up(threads: int) -> float:
    """How many times as fast as with one thread a training is."""
    return 1 / (SERIAL_SHARE + (1 - SERIAL_SHARE) / threads)


def choose_threads(trainings: Iterable[Training], cores: int, memory_mb: int | None = None) -> dict[Training, int]:
    """Threads of each training of a study, 1 to `cores`; equal trainings have equal threads.

    Plays the study through with one choice after another and takes that with which it ends first, or of equals the one
    with the fewest threads: each deadline that a training can meet gives one, the fewest threads with which all of them
    meet it (Turek, Wolf and Yu 1992, "Approximate algorithms for scheduling parallelizable tasks").

    Args:
        trainings: all of the study, finished or not, so that a later run chooses the same.
        cores: that the trainings share.
        memory_mb: that they share; None or 0 where it limits nothing.
    """
    counts = Counter(sorted(trainings, reverse=True))
    memory_mb = memory_mb or sum(training.memory_mb for training in counts.elements())
    one_each = dict.fromkeys(counts, 1)
    end = study_seconds(counts, one_each, cores, memory_mb)
    without_idle_cores = sum(training.seconds(1) for training in counts.elements()) / cores
    if end <= (1 + WORTH) * without_idle_cores:
        return one_each

    def end_and_threads(threads: Mapping[Training, int]) -> tuple[float, int]:
        # Snakemake starts the longest that fits. But a core that is free alone never goes to one of several threads,
        # which may so wait for long, for one when its data is late. So the mean of the best order and of the worst.
        order = sorted(counts, key=threads.__getitem__)
        orders = counts, {training: counts[training] for training in order}
        total = sum(threads[training] * count for training, count in counts.items())
        return sum(study_seconds(each, threads, cores, memory_mb) for each in orders) / 2, total

    best = min(_choices(counts, cores, memory_mb), key=end_and_threads)
    return best if end > (1 + WORTH) * end_and_threads(best)[0] else one_each


def _choices(counts: Counter[Training], cores: int, memory_mb: int) -> Iterator[dict[Training, int]]:
    """Threads of each training, in one way after another that may be the best."""
    # Up to eight, and what so many equal trainings can have side by side.
    numbers = sorted({*range(1, min(cores, 8) + 1), *(cores // at_once for at_once in range(1, cores + 1))})
    seconds = {training: [(training.seconds(number), number) for number in numbers] for training in counts}
    deadlines = sorted({time for times in seconds.values() for time, _ in times}, reverse=True)
    # The fewest that each has: one; what it can have where the memory holds only so many of its kind; two; three; ...
    least = [dict.fromkeys(counts, number) for number in numbers]
    least.insert(1, {training: cores // max(1, memory_mb // training.memory_mb) for training in counts})

    tried = max(4, int(TRIED / (10 + counts.total() * (1 + len(counts) / 50))))
    least = least[: max(2, tried // len(deadlines))]
    for deadline in deadlines[:: math.ceil(len(least) * len(deadlines) / tried)]:
        enough = {
            training: next((number for time, number in times if time <= deadline), cores)
            for training, times in seconds.items()
        }
        for fewest in least:
            yield {training: max(enough[training], fewest[training]) for training in counts}


def study_seconds(counts: Mapping[Training, int], threads: Mapping[Training, int], cores: int, memory_mb: int) -> float:
    """Time until the last training has ended, where the first that fits starts whenever cores are free.

    Args:
        counts: how many there are of each training, in the order in which they wait.
        threads: of each training.
        cores, memory_mb: of the machine; a training that takes more memory runs alone.
    """
    waiting = dict(counts)
    running: list[tuple[float, int, int]] = []  # when so many cores and so much memory will be free again
    free_cores, free_mb, now = cores, memory_mb, 0.0
    least_mb = min(memory_mb, *(training.memory_mb for training in counts))
    while True:
        for training in list(waiting):
            needed_mb = min(training.memory_mb, memory_mb)
            starting = min(waiting[training], free_cores // threads[training], free_mb // needed_mb)
            if starting:
                taken_cores, taken_mb = starting * threads[training], starting * needed_mb
                heapq.heappush(running, (now + training.seconds(threads[training]), taken_cores, taken_mb))
                free_cores, free_mb = free_cores - taken_cores, free_mb - taken_mb
                waiting[training] -= starting
                if not waiting[training]:
                    del waiting[training]
            if not free_cores or free_mb < least_mb:
                break
        if not running:
            return now
        now = running[0][0]
        while running and running[0][0] == now:
            _, ended_cores, ended_mb = heapq.heappop(running)
            free_cores, free_mb = free_cores + ended_cores, free_mb + ended_mb
