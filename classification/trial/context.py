"""What a trial runs in: folders, device, log; none of it changes a number."""
from typing import Any, Callable, Mapping, NamedTuple, Optional


class TrialContext(NamedTuple):
    """Its fields are given and read by name."""
    folder: str                                    # where its checkpoint is
    config: Any                                    # tf.ConfigProto
    minutes: float = 5.                            # between checkpoints inside a task; 0: every epoch
    log: Callable = lambda line: None              # one line for the log
    send: Callable = lambda **what: None           # what the progress display should know
    stopping: Callable = lambda: False             # whether to stop at the next epoch boundary
    graph_folder: Optional[str] = None             # where to write graphs for TensorBoard
    parameter_folder: Optional[str] = None         # where to write parameter files
    evaluation_factor: int = 1                     # how many evaluation batches of a CPU fit this device
    scalar_folder: Optional[str] = None            # where to write accuracies for TensorBoard
    # what makes the numbers: data, code, libraries, machine; see origin.py
    origin: Optional[dict] = None
    # how the trial shares the machine: 'jobs' and 'threads'; its record says it
    share: Mapping = {}
    # raises an error if another process has taken the trial over
    check_lock: Callable = lambda: None
