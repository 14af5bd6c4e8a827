"""main.py with a fault that strikes at a planned moment: the command line, or with --run_trial one of its
trials.

The plan is JSON in the environment: the stage and which visit to it, how many seconds into it, what strikes
whom. The product's functions are wrapped from outside; the product knows nothing of this.
"""
import functools
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import types
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import main  # noqa: E402
from classification.runs import local_pool, supervisor, trial_process  # noqa: E402
from tests.faults.forked import Forked  # noqa: E402
from tests.support import command_line  # noqa: E402
from utils import locks  # noqa: E402
from utils.utils import run_command  # noqa: E402

# in the environment: the plan, and the command's process
PLAN, COMMAND = 'PLANNED_FAULT', 'STRUCK_COMMAND'
FULL = 'full disk'
# bytes of a file that still fit on the full disk: lines of text, but no checkpoint and no result
ROOM = 2048

# Stage -> where it happens. Those of a trial are in its own process, the others in that of the command.
TRIAL_STAGES = {
    'data': ['gen_data:load_tasks'],
    'building': ['trial.task_graph:TaskGraph.__init__'],
    'training': ['train:Trial._train_epoch'],
    'evaluation': ['trial.recorder:Recorder.evaluate'],
    'checkpoint': ['trial.checkpoint:save'],
    'record': ['results.texts:accuracy_matrix_csv', 'results.texts:history_csv', 'results.texts:epochs_csv',
               'results.trial_record:save_record', 'trial.checkpoint:remove'],
}
COMMAND_STAGES = {
    'beginning': ['runs.run_folder:ResultPaths.make', 'train_wrapper:hold', 'train_wrapper:Run.announce'],
    'result file': ['train_wrapper:Run.finish'],
}


class Fault(object):
    """What is planned: {stage, visit, delay, what, whom, report}; without a stage, how long stages take is
    reported.

    A plan may also hold stale_seconds and lock_seconds, for tests that cannot wait as long as a user.
    """

    def __init__(self, plan):
        self.plan, self.visits, self.struck = plan, Counter(), False

    def plant(self, stages):
        """Wraps the functions of these stages."""
        for stage, places in stages.items():
            for place in places:
                module, _, name = place.partition(':')
                owner = importlib.import_module('classification.' + module)
                for part in name.split('.')[:-1]:
                    owner = getattr(owner, part)
                name = name.split('.')[-1]
                setattr(owner, name, self._within(stage, getattr(owner, name)))

    def _within(self, stage, call):
        @functools.wraps(call)
        def wrapper(*words, **named):
            self.visits[stage] += 1
            armed = (stage, self.visits[stage]) == (self.plan.get('stage'), self.plan.get('visit'))
            if armed:
                timer = threading.Timer(self.plan['delay'], self._strike)
                timer.daemon = True
                timer.start()
            began = time.monotonic()
            try:
                return call(*words, **named)
            finally:
                if armed:
                    timer.cancel()
                    self._strike()      # at the latest here
                elif 'stage' not in self.plan:
                    self._report(stage=stage, seconds=time.monotonic() - began)
        return wrapper

    def _strike(self):
        if self.struck:
            return
        self.struck = True
        self._report(hit=self.plan['stage'])
        if self.plan['what'] == FULL:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return
        processes = {'command': os.getpid(), 'trial': None}
        if self.plan['stage'] in TRIAL_STAGES:
            processes = {'command': int(os.environ[COMMAND]), 'trial': os.getpid()}
            if processes['command'] != os.getppid():        # it is gone, and its number may be another's
                processes['command'] = None
        # the command comes first: nothing is left to do after one's own death
        for whom in self.plan['whom']:
            if processes[whom]:
                os.kill(processes[whom], getattr(signal, self.plan['what']))

    def _report(self, **what):
        if 'report' in self.plan:
            with open(self.plan['report'], 'a') as stream:
                stream.write(json.dumps(what) + '\n')


def run(words, forked=False):
    """Runs main.py; returns the exit status."""
    fault = Fault(json.loads(os.environ.get(PLAN, '{}')))
    locks.STALE_SECONDS = fault.plan.get('stale_seconds', locks.STALE_SECONDS)
    trial_process.LOCK_SECONDS = fault.plan.get('lock_seconds', trial_process.LOCK_SECONDS)
    sys.setswitchinterval(1e-4)         # for a fault in the midst of a short stage
    command_line.change()
    if words[:1] != [main.TRIAL_COMMAND]:
        os.environ[COMMAND] = str(os.getpid())
    supervisor.MAIN = os.path.abspath(__file__)
    if forked:
        local_pool.subprocess = types.SimpleNamespace(
            **dict(vars(subprocess), Popen=functools.partial(Forked, call=main.main)))
    if forked or words[:1] != [main.TRIAL_COMMAND]:
        fault.plant(COMMAND_STAGES)
    if forked or words[:1] == [main.TRIAL_COMMAND]:
        fault.plant(TRIAL_STAGES)
    return main.main(words)


if __name__ == '__main__':
    run_command(lambda: run(sys.argv[1:]))
