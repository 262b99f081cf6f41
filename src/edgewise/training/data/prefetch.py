"""The next batches are made while the step runs."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgewise.measure.npz import Array
from edgewise.training.data.batches import Batches

__all__ = ["Prefetched"]


@dataclass(frozen=True, slots=True)
class Prefetched:
    """The same batches in the same order, made in a thread of their own, up to ``ahead`` of them in advance.

    What goes wrong there is raised where the batch is taken. The thread ends with the epoch, or when its iterator is closed.
    """

    batches: Batches
    ahead: int = 2

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        made = iter(self.batches.epoch(seed, epoch, start))
        pool = ThreadPoolExecutor(1, thread_name_prefix="edgewise-batches")
        try:
            # One thread takes the jobs in turn, so the order is that of the source.
            pending = deque(pool.submit(next, made, None) for _ in range(max(1, self.ahead)))
            while (batch := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, made, None))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
