"""Trials as processes of this machine, each with a GPU or none."""
import itertools
import os
import subprocess
import sys

from utils.utils import UserError, plural

ERRORS = 'stderr.txt'       # in a run folder: what the trials' libraries say


def visible_devices(gpu, inherited):
    """CUDA_VISIBLE_DEVICES of a trial on GPU `gpu`: the number of one of the devices that this process may
    see, -1 none.

    Args:
        inherited: this process's own CUDA_VISIBLE_DEVICES, None if it has none.
    Raises:
        UserError: some are visible, but fewer than that.
    """
    if gpu < 0 or inherited is None:
        return str(gpu)
    devices = list(itertools.takewhile(lambda device: device not in ('', '-1'),
                                       map(str.strip, inherited.split(','))))
    if devices and gpu >= len(devices):
        raise UserError('--gpu %d: only %s visible (CUDA_VISIBLE_DEVICES=%s); 0 is the first'
                        % (gpu, plural(len(devices), 'device'), inherited))
    return devices[gpu] if devices else '-1'


class LocalPool(object):
    """Starts trials on this machine, as many at a time as there are devices.

    Args:
        program: path of main.py.
        devices: CUDA_VISIBLE_DEVICES of each.
    """
    trouble = None         # why it cannot go on, in a line
    still_mine = None      # of use on a cluster only

    def __init__(self, program, devices):
        self.program, self.size, self.free = program, len(devices), list(devices)

    def start(self, run_folder, number):
        """The process of a trial, on a free device, which stays free if it cannot start (OSError)."""
        device = self.free[0]
        with open(os.path.join(run_folder, ERRORS), 'ab') as errors:
            child = subprocess.Popen([sys.executable, self.program, '--run_trial', run_folder, str(number)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                     env=dict(os.environ, CUDA_VISIBLE_DEVICES=device, PYTHONUNBUFFERED='1'),
                                     start_new_session=True)
        child.device = self.free.pop(0)
        return child

    def end(self, child):
        """The trial has ended."""
        self.free.append(child.device)

    def close(self):
        """No trial shall run any more."""
