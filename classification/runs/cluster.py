"""Trials as tasks of an existing Dask cluster: each lets some worker start the ordinary child process of a
trial.

Dask only starts processes. All else goes through the run folder, which every machine sees: a trial writes
what it says to a file in its trial folder, and goes on while the sign of life of the command that wants it is
renewed. So it stops at its next epoch when it is asked to, when that command was killed, and when the
scheduler is gone; when its worker was killed it stops because its stdin closes, as on one machine.
cluster_trial.py is a trial as it is seen from here, cluster_worker.py what it does there.
"""
import asyncio
import contextlib
import logging
import os
import sys
import threading
import uuid
import warnings

from classification.runs.cluster_trial import ClusterTrial
from classification.runs.trial_process import HEARTBEAT_FILE
from utils.utils import UserError, plural, without_credentials

CONNECT_SECONDS = 5
BEAT_SECONDS = 10            # between renewals of the sign of life
SIDE_BY_SIDE = 200           # trials handed out at once; the workers decide how many of them run


class Cluster(object):
    """Starts trials on a Dask cluster; what local_pool.LocalPool does on this machine.

    Args:
        address: of the scheduler.
        main: path of main.py, the same on all machines.
        gpu: N-th of the GPUs that a worker sees, -1: the CPU.
        say: function of one line for the user.
    Raises:
        UserError: Dask is not installed, or no scheduler answers at this address.
    """
    size = SIDE_BY_SIDE
    still_mine = staticmethod(lambda: True)        # whether the command still holds the experiment

    def __init__(self, address, main, gpu, say):
        # Until this process ends: Dask's own lines about a scheduler that is gone come late.
        logging.disable(logging.CRITICAL)
        try:
            import distributed
        except ImportError:
            raise UserError('--scheduler needs Dask; run: %s -m pip install -r %s' % (
                sys.executable, os.path.join(os.path.dirname(main), 'requirements-cluster.txt'))) from None
        workers = _number_of_workers(distributed, address)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                self.client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except Exception as error:      # it went away just now
                raise _no_scheduler(address, error) from error
        # the address as it is shown
        self.address, self.main, self.gpu = without_credentials(address, address), main, gpu
        self.token, self.stopping = uuid.uuid4().hex, threading.Event()
        self.heartbeat = self.trouble = None
        say('Dask scheduler %s: %s' % (self.address, plural(workers, 'worker') if workers else
                                       'no worker yet; the trials begin when one comes'))

    def start(self, run_folder, number):
        """Hands a trial to the cluster; what stands for its process here."""
        run_folder = os.path.abspath(run_folder)
        if self.heartbeat is None:
            self._renew(run_folder, 0)
            self.heartbeat = threading.Thread(target=self._send_heartbeats, args=(run_folder,))
            self.heartbeat.start()
        return ClusterTrial(self, run_folder, number)

    def end(self, trial):
        """The trial has ended."""
        trial.forget()

    def close(self):
        """No trial shall run any more."""
        self.stopping.set()
        if self.heartbeat is not None:
            self.heartbeat.join()
        try:
            self.client.close(timeout=CONNECT_SECONDS)
        except Exception:       # there is nobody to say goodbye to
            pass

    def lost(self):
        """Dask has given up the trials of this command."""
        if not self.stopping.is_set():
            self.trouble = 'error: the Dask scheduler %s %s' % (
                self.address, 'was restarted' if self.client.status == 'running' else 'is gone')
            self.stopping.set()

    def _renew(self, run_folder, count):
        path = os.path.join(run_folder, HEARTBEAT_FILE)
        with open(path + '.new', 'w') as stream:
            stream.write('%s %d' % (self.token, count))
        os.replace(path + '.new', path)

    def _send_heartbeats(self, run_folder):
        count = 0
        while not self.stopping.wait(BEAT_SECONDS):
            count += 1
            with contextlib.suppress(OSError):      # perhaps the file server is back at the next beat
                if self.still_mine():
                    self._renew(run_folder, count)
                else:       # this command was stopped, and the sign is another's
                    self.trouble = 'error: another process has taken this experiment over'
                    self.stopping.set()
        with contextlib.suppress(OSError):
            if self.still_mine():
                os.remove(os.path.join(run_folder, HEARTBEAT_FILE))


def _number_of_workers(distributed, address):
    """How many workers the scheduler at an address has now.

    Raises:
        UserError: none answers, or it runs another version of Dask.
    """
    async def ask():
        there = distributed.core.rpc(address, timeout=CONNECT_SECONDS,
                                     connection_args=distributed.Security().get_connection_args('client'))
        try:
            identity = await there.identity()
            if identity.get('type') != 'Scheduler':
                raise ValueError('a Dask %s is there' % str(identity.get('type')).lower())
            return identity, dict((await there.versions())['packages'])['distributed']
        finally:
            await there.close_rpc()

    loop = asyncio.new_event_loop()
    try:
        identity, version = loop.run_until_complete(asyncio.wait_for(ask(), 2 * CONNECT_SECONDS))
    except Exception as error:
        raise _no_scheduler(address, error) from error
    finally:
        loop.close()
    if version != distributed.__version__:
        raise UserError(
            '--scheduler %s: it runs Dask distributed %s, this Python has %s; all machines need the same'
            % (without_credentials(address, address), version, distributed.__version__))
    return identity.get('n_workers', len(identity['workers']))


def _no_scheduler(address, error):
    reason = str(error).split('\n')[0].strip() or 'no answer in %d s' % (2 * CONNECT_SECONDS)
    return UserError(
        '--scheduler %s: no Dask scheduler answers there: %s; an address like tcp://host:8786 is needed'
        % (without_credentials(address, address), without_credentials(reason, address)))
