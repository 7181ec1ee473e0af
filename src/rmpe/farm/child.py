"""The process of one worker: it reads tasks from its input and writes answers to its output.

``python -m rmpe.farm ADDRESS MODULE:CLASS``. Tasks and answers are pickled; whoever started
it is the only one who can write to it. It ends with its parent, however that ends.
"""

import os
import pickle
import sys
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

import cv2

from rmpe.errors import RmpeError, StorageError

# Seconds between two looks whether the parent is still there.
LOOK = 1.0


@dataclass(frozen=True)
class Task:
    """A call of one of the worker's methods."""

    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Answer:
    """What a task, or the start of the worker, came to.

    Attributes:
        value: What the method returned.
        error: The error that the user can fix, in one line; empty if there was none.
        storage: Whether it was a fault of the storage, which may pass.
    """

    value: Any = None
    error: str = ""
    storage: bool = False


def main(address: str, worker: str) -> None:
    """Answer tasks until there are no more.

    Args:
        address: Where the run is.
        worker: Module and class of the worker, ``rmpe.farm.work:Worker``.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    cv2.setNumThreads(1)  # one worker a core
    module, _, name = worker.partition(":")
    made = _answer(getattr(import_module(module), name), (address,))
    _send(answers, Answer(error=made.error, storage=made.storage))
    while not made.error:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        _send(answers, _answer(getattr(made.value, task.method), task.arguments))


def _answer(action: Any, arguments: tuple[Any, ...]) -> Answer:
    try:
        return Answer(action(*arguments))
    except RmpeError as error:
        return Answer(error=str(error), storage=isinstance(error, StorageError))


def _send(answers: BinaryIO, answer: Answer) -> None:
    try:
        pickle.dump(answer, answers)
        answers.flush()
    except BrokenPipeError:  # the parent was killed: what was done is in the storage
        os._exit(1)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: nobody waits for what it does."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
