"""One process among those that train together."""

import os
from dataclasses import dataclass

import torch

from rmpe.errors import UsageError


@dataclass(frozen=True)
class Worker:
    """This process among all that train together (``torchrun`` sets the environment)."""

    rank: int
    count: int
    device: str

    @classmethod
    def join(cls, device: str) -> "Worker":
        """Join the others, if there are any.

        Raises:
            UsageError: If CUDA is asked for and not there.
        """
        rank = int(os.environ.get("RANK", "0"))
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device = cuda, but PyTorch finds no CUDA device; use device = cpu")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
            torch.cuda.set_device(device)
        if count > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
        return cls(rank, count, device)

    def leave(self) -> None:
        """Part from the others; without it the backend complains when the process ends."""
        if self.count > 1:
            torch.distributed.barrier()  # else one may go while another still answers, and abort at its end
            torch.distributed.destroy_process_group()

    def share(self, batch: int) -> slice:
        """Which rows of a batch are this process's.

        Raises:
            UsageError: If the batch cannot be shared evenly.
        """
        if batch % self.count:
            raise UsageError(f"batch = {batch} cannot be shared evenly by {self.count} processes")
        rows = batch // self.count
        return slice(self.rank * rows, (self.rank + 1) * rows)
