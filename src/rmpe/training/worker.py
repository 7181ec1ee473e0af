"""One process of a distributed training run."""

import os
from dataclasses import dataclass

import torch

from rmpe.errors import UsageError


@dataclass(frozen=True)
class Worker:
    """This process in a distributed run; ``torchrun`` sets the environment.

    Attributes:
        rank: Its number.
        count: How many processes there are.
        device: Where it computes.
        restarted: Whether ``torchrun`` has started the processes anew, because one of them died;
            it does so with the same arguments. The same in all processes.
    """

    rank: int
    count: int
    device: str
    restarted: bool = False

    @classmethod
    def join(cls, device: str) -> "Worker":
        """Join the process group, if there is more than one process.

        Raises:
            UsageError: If CUDA is requested but not available.
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
        # Every machine counts its own restarts only.
        restarts = torch.tensor(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
        if count > 1:
            restarts = restarts.to(device)
            torch.distributed.all_reduce(restarts)
        return cls(rank, count, device, bool(restarts.item()))

    def leave(self) -> None:
        """Leave the process group; otherwise the backend warns when the process ends."""
        if self.count > 1:
            # Without the barrier a process may leave while another one still communicates, which
            # aborts the latter.
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes; losses are shares of that of the whole batch."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def share(self, batch: int) -> slice:
        """The shard of a batch that belongs to this process.

        Raises:
            UsageError: If the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise UsageError(f"batch = {batch} cannot be divided evenly by {self.count} processes")
        rows = batch // self.count
        return slice(self.rank * rows, (self.rank + 1) * rows)
