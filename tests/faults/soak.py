"""Kills, signals, full disks, damaged checkpoints at random moments; numbers stay as if nothing was.

    make soak                                            on both generations of TensorFlow
    python -m tests.faults.soak --rounds 100             here

One experiment per model type is struck again and again, each time at another stage, and taken up by the same
command, until it is finished; its .mat file must equal, bit for bit, that of a run that nobody disturbed.
Prints how often each fault hit each stage, and the losses: what was not as it should be, be it numbers, exit
status or words. The exit status is 1 if there was one, or if a stage was hit by nothing.
"""
import argparse
import functools
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, OrderedDict, defaultdict
from typing import NamedTuple, Tuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from classification.model.registry import models_argument  # noqa: E402
from tests.faults import victim  # noqa: E402
from tests.faults.forked import Forked  # noqa: E402
from tests.support.commands import Run, start  # noqa: E402
from tests.support.result_files import same_result  # noqa: E402
from utils.locks import Lock  # noqa: E402
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USER_ERROR  # noqa: E402

MODELS = ['HPS', 'LASEM_HPS', 'Hybrid_TF', 'Hybrid_DFCNN', 'DARTS_HPS', 'DEN', 'ProgNN', 'EWC', 'ChannelGate',
          'APD']
OPTIONS = ['--gpu', '-1', '--data_type', 'DIGITS5', '--num_clayers', '2', '--lifelong', '--threads', '1',
           '--num_runs', '1', '--checkpoint_minutes', '0', '--num_tasks', '2']
STAGES = ['beginning', 'data', 'building', 'training', 'evaluation', 'checkpoint', 'record', 'result file']
# of a process; others 1
VISITS = {'beginning': 3, 'training': 2, 'evaluation': 2, 'checkpoint': 2, 'record': 4}
ATTEMPTS = 4           # runs of one experiment, until every fault that was planned has struck
SECONDS = 300


class Fault(NamedTuple):
    """What strikes whom."""
    what: str
    whom: Tuple[str, ...] = ()
    stages: Tuple[str, ...] = tuple(STAGES)


KILLED = 'trial killed'
DAMAGES = {'checkpoint cut': lambda content, place: content[:place],
           'bit flipped': lambda content, place: content[:place] + bytes([content[place] ^ 4])
           + content[place + 1:]}
FAULTS = OrderedDict([
    (KILLED, Fault('SIGKILL', ('trial',), tuple(victim.TRIAL_STAGES))),
    ('command killed', Fault('SIGKILL', ('command',))),
    ('both killed', Fault('SIGKILL', ('command', 'trial'), tuple(victim.TRIAL_STAGES))),
    ('SIGTERM', Fault('SIGTERM', ('command',))),
    ('SIGINT', Fault('SIGINT', ('command',))),
    ('SIGUSR1', Fault('SIGUSR1', ('command',))),
    ('SIGUSR1 to both', Fault('SIGUSR1', ('command', 'trial'), ('training', 'evaluation', 'checkpoint',
                                                                'record'))),
    ('SIGHUP', Fault('SIGHUP', ('command',))),
    ('SIGUSR2', Fault('SIGUSR2', ('command',))),
    ('SIGXCPU to both', Fault('SIGXCPU', ('command', 'trial'), ('training', 'evaluation', 'checkpoint',
                                                                'record'))),
    ('disk full', Fault(victim.FULL)),
# after the damage was met
] + [(name, Fault('SIGKILL', ('trial',), ('evaluation',))) for name in DAMAGES])


class Round(NamedTuple):
    """One fault at one stage."""
    name: str
    stage: str
    visit: int
    share: float        # of the time that the stage takes


def plan(kills, others, draws):
    """The rounds: so many kills of a trial, and so many of the other faults, spread evenly over the
    stages."""
    names = [KILLED] * kills
    while len(names) < kills + others:
        names += draws.sample(list(FAULTS)[1:], min(len(FAULTS) - 1, kills + others - len(names)))
    pairs, rounds = Counter(), []
    for name in names:
        of_stage = Counter()
        for (_, stage), number in pairs.items():
            of_stage[stage] += number
        stage = min(FAULTS[name].stages, key=lambda stage: (pairs[name, stage], of_stage[stage],
                                                            draws.random()))
        pairs[name, stage] += 1
        rounds.append(Round(name, stage, draws.randint(1, VISITS.get(stage, 1)), draws.uniform(0, 1.1)))
    draws.shuffle(rounds)
    return rounds


class Victim(Run):
    """The command line that faults are planned for."""

    def __init__(self, folder, model, epochs, forked):
        super(Victim, self).__init__(folder, OPTIONS + ['--model_type', model, '--epochs_per_task',
                                                        str(epochs)],
                                     program=[victim.__file__], seconds=SECONDS)
        self.popen = [functools.partial(Forked,
                                        call=functools.partial(victim.run, forked=True))] if forked else []

    def start(self, **fault):
        """Starts it with a fault to come, or with none; each report goes to a file of its own."""
        self.folder.mkdir(exist_ok=True)
        self.report = '%s.report' % self.said_at
        if os.path.exists(self.report):
            os.remove(self.report)
        self.parent = start(self.program + self.options, self.said_at, *self.popen,
                            **{victim.PLAN: json.dumps(dict(fault, report=self.report))})
        return self

    def reported(self):
        """What the run told in its report."""
        if not os.path.exists(self.report):
            return []
        with open(self.report) as stream:
            return [json.loads(line) for line in stream]


class Outcome(NamedTuple):
    """What became of one model's rounds."""
    model: str
    rounds: int                # planned
    hits: list                 # (fault, stage) of each round in which something was struck
    experiments: int
    losses: list               # a text for each thing that was not as it should be
    missed: list               # Rounds that did not come to pass


class Chain(object):
    """One experiment and the faults that it meets."""

    def __init__(self, model, rounds, seed, forked, place):
        self.model, self.rounds, self.forked = model, rounds, forked
        self.draws, self.place = random.Random('%s %s' % (seed, model)), pathlib.Path(place) / model
        self.hits, self.losses, self.runs = [], [], 0

    def go(self):
        """Runs it all; returns the Outcome."""
        self.place.mkdir()
        self.epochs, left = 6, self.rounds
        self.calm = self._victim('calm').start()
        try:
            assert self.calm.wait() == 0, self.calm.said
            times = defaultdict(list)
            for event in self.calm.reported():
                times[event['stage']].append(event['seconds'])
            self.seconds = {stage: sum(values) / len(values) for stage, values in times.items()}
            assert set(self.seconds) == set(STAGES), 'stages without a visit: %s' % (set(STAGES) - set(
                self.seconds))
            while left and self.runs < ATTEMPTS:
                left = self._one_experiment(left)
        except Exception as problem:
            self.losses.append('%s: %s: %s' % (self.model, type(problem).__name__, problem))
        shutil.rmtree(str(self.place))
        return Outcome(self.model, len(self.rounds), self.hits, self.runs, self.losses, left)

    def _victim(self, name):
        return Victim(self.place / name, self.model, self.epochs, self.forked)

    def _one_experiment(self, rounds):
        """Strikes one experiment with these faults until it is finished;
        returns those that did not come to pass."""
        at_the_end = {'record': 1, 'result file': 2}
        rounds = sorted(self.draws.sample(rounds, len(rounds)), key=lambda one: (
            at_the_end.get(one.stage, 0), one.stage in at_the_end and one.visit))
        self.runs += 1
        missed = []
        with self._victim('run%d' % self.runs) as run:
            while rounds and not (run.parent and run.parent.returncode == 0):
                ready = [one for one in rounds if one.name not in DAMAGES or can_be_damaged(run)]
                if not ready or not self._strike(run, ready[0]):
                    missed += [rounds.pop(rounds.index(ready[0]) if ready else 0)]
                else:
                    rounds.remove(ready[0])
            status = run.start().wait()
            self._see_to(status == 0, run, 'the last start', 'status %d' % status)
            try:
                same_result(run, self.calm)
            except AssertionError as difference:
                self._see_to(False, run, 'the end', 'other numbers: %s' % str(difference)[:300])
        return missed + rounds

    def _strike(self, run, one):
        """Starts the experiment with a fault to come; returns whether it came."""
        fault = FAULTS[one.name]
        if one.name in DAMAGES:
            self._damage(run, one)
        run.start(stage=one.stage, visit=one.visit, delay=one.share * self.seconds[one.stage],
                  what=fault.what, whom=fault.whom)
        status = run.wait()
        if not any('hit' in event for event in run.reported()):
            self._see_to(status == 0, run, one, 'status %d though nothing struck' % status)
            return False
        self.hits.append((one.name, one.stage))
        allowed = allowed_after(fault, one.stage)
        self._see_to(status in allowed, run, one, 'status %d, not %s'
                     % (status, ' or '.join(map(str, allowed))))
        self._see_to('Traceback' not in run.said, run, one, 'a traceback')
        if status in (EXIT_FAILED, EXIT_USER_ERROR):
            self._see_to(len(run.errors()) == 1, run, one, '%d error lines' % len(run.errors()))
        if status == EXIT_INTERRUPTED:
            self._see_to(not run.errors() and 'interrupted' in run.said, run, one,
                         'not a word on the interruption')
        if fault.what == victim.FULL and status != 0:
            self._see_to('too large' in run.said, run, one, 'it does not say what is wrong with the disk')
        if one.name in DAMAGES:
            self._see_to(run.said.count('is damaged; the one before it is used') == 1, run, one,
                         'not one word on the damage')
        return True

    def _damage(self, run, one):
        """Damages the newest checkpoint."""
        path = pathlib.Path(run.checkpoint)
        with Lock(str(path.parent / '.lock')).acquire(SECONDS):
            pass        # a trial whose command was killed may still be saving
        content = path.read_bytes()
        path.write_bytes(DAMAGES[one.name](content, self.draws.randrange(len(content))))

    def _see_to(self, well, run, where, what):
        if not well:
            self.losses.append('%s, run %d, %s: %s; it said: %s' % (
                self.model, self.runs, ' '.join(map(str, where)) if isinstance(where, Round) else where, what,
                ' / '.join(run.said.splitlines()[-6:])))


def can_be_damaged(run):
    """Whether it has a checkpoint and the one before it."""
    return bool(list(run.folder.glob('found/*/trial0/checkpoint'))) and os.path.exists(
        run.checkpoint + '.previous')


def allowed_after(fault, stage):
    """The exit statuses that the command may have."""
    ends_now = stage in ('record', 'result file', 'checkpoint')      # nothing may be left to do
    in_command = stage in victim.COMMAND_STAGES
    if fault.what == 'SIGKILL':
        return (-9,) if in_command or 'command' in fault.whom else (EXIT_FAILED,)
    if fault.what == victim.FULL:
        return (EXIT_FAILED,) + ((EXIT_USER_ERROR,) if stage == 'beginning'
                                 else ()) + ((0,) if ends_now else ())
    return (EXIT_INTERRUPTED,) + ((0,) if ends_now else ())


def go(words):
    """A chain, in a process of its own."""
    return Chain(*words).go()


def table(hits, losses):
    """Text: a row per fault, a column per stage."""
    rows = [['fault'] + STAGES + ['rounds']]
    for name, fault in FAULTS.items():
        rows.append([name] + [str(hits[name, stage]) if stage in fault.stages else '' for stage in STAGES]
                    + [str(sum(hits[name, stage] for stage in STAGES))])
    rows.append(['all'] + [str(sum(hits[name, stage] for name in FAULTS)) for stage in STAGES]
                + [str(sum(hits.values()))])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['| %s |' % ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    lines.insert(1, '|%s|' % '|'.join('-' * (width + 2) for width in widths))
    return '\n'.join(lines + ['losses: %d' % len(losses)])


def import_what_takes_long():
    """Before processes are forked that need it."""
    import scipy.io  # noqa: F401
    import sklearn.datasets  # noqa: F401

    from classification import gen_data, train  # noqa: F401
    from utils import runtime  # noqa: F401


def command_line():
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=100, help='kills of a trial (default: %(default)s)')
    parser.add_argument('--others', type=int, default=80,
                        help='rounds of the other faults (default: %(default)s)')
    parser.add_argument('--models', type=models_argument, default='',
                        help='model types, like a,b (default: %s)' % ','.join(MODELS))
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: %(default)s)')
    parser.add_argument('--side_by_side', type=int, default=2,
                        help='experiments at a time (default: %(default)s)')
    parser.add_argument('--forked', action='store_true',
                        help='fork every process from one that has imported TensorFlow: faster, not quite '
                             'as in life')
    flags = parser.parse_args()
    models = flags.models or MODELS
    draws, began = random.Random(flags.seed), time.monotonic()
    rounds = plan(flags.rounds, flags.others, draws)
    print('== seed %d: %d rounds over %s' % (flags.seed, len(rounds), ', '.join(models)))
    sys.stdout.flush()
    if flags.forked:
        import_what_takes_long()
    hits, losses = Counter(), []
    place = tempfile.mkdtemp()
    with multiprocessing.get_context('fork').Pool(flags.side_by_side) as pool:
        for outcome in pool.imap_unordered(go, [(model, rounds[number::len(models)], flags.seed, flags.forked,
                                                 place)
                                              for number, model in enumerate(models)]):
            hits.update(outcome.hits)
            losses += outcome.losses
            print('%-12s %3d of %3d rounds struck, in %d experiments; losses: %d%s' % (
                outcome.model, len(outcome.hits), outcome.rounds, outcome.experiments, len(outcome.losses),
                ''.join('; missed: %s at %s, visit %d' % one[:3] for one in outcome.missed)))
            sys.stdout.flush()
    shutil.rmtree(place)
    for loss in losses:
        print('LOSS: ' + loss)
    print(table(hits, losses))
    missed = [stage for stage in STAGES if not any(hits[name, stage] for name in FAULTS)]
    if missed:
        print('hit by nothing: ' + ', '.join(missed))
    print('== %.0f s' % (time.monotonic() - began))
    return 1 if losses or missed else 0


if __name__ == '__main__':
    sys.exit(command_line())
