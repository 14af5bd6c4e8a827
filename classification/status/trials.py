"""Where a trial is, as its folder tells: read without a lock, also while it trains, also of earlier versions.

A trial with a record is finished. One whose lock has a token runs while the token beats; on this machine its
process must also be there. Of the others state.json says how they ended, or the log where an earlier version
trained them.
"""
import os
import re
from typing import Any, Mapping, NamedTuple, Optional

from classification.runs import trial_state
from classification.runs.trial_process import LOG, RECORD, lock_of, trial_folder
from classification.runs.trial_state import FAILED, FINISHED, INTERRUPTED, RUNNING
from utils.locks import holder_of, seconds_since

STALE, NOT_BEGUN = 'stale', 'not begun'
STATES = (FINISHED, RUNNING, INTERRUPTED, FAILED, STALE, NOT_BEGUN)
STALE_SECONDS = 600          # without a heartbeat
LOG_BYTES = 1 << 16          # of the log that are looked through
# What shows that a trial moved.
MOVES = (trial_state.STATE, RECORD, 'checkpoint')


class TrialStatus(NamedTuple):
    """A trial as it is now."""
    number: int
    state: str
    facts: Mapping[str, Any] = {}          # see trial_state.NUMBERS and TEXTS; of where it was
    moved: Optional[float] = None          # time; None: it has left nothing

    @property
    def seconds_left(self):
        """Seconds that a running trial still takes; None: not known."""
        if self.state != RUNNING or not {'epoch_seconds', 'done', 'total'} <= set(self.facts):
            return None
        return max(0., self.facts['epoch_seconds'] * (self.facts['total'] - self.facts['done']))


def trial_status(run_folder, number, failures, earlier=False):
    """TrialStatus of a trial that may be unfinished.

    Args:
        failures: {number: why}, what the log says of trials that an earlier version trained.
        earlier: whether it did, and wrote no state.json. Else a checkpoint alone is the end state of a
            shorter experiment, with which the trial will begin.
    """
    folder = trial_folder(run_folder, number)
    moves = _moves(folder)
    moved = max(moves.values()) if moves else None
    if RECORD in moves:
        return TrialStatus(number, FINISHED, trial_state.read(folder), moves[RECORD])
    facts, holder = trial_state.read(folder), holder_of(lock_of(folder))
    if holder is not None and not holder.ended:
        facts = dict(facts if facts.get('state') == RUNNING else {}, host=holder.host)
        if holder.silent_seconds <= STALE_SECONDS:
            return TrialStatus(number, RUNNING, facts, moved)
        return TrialStatus(number, STALE, dict(facts, reason=silence(holder)), moved)
    if facts.get('state') == FAILED:
        return TrialStatus(number, FAILED, facts, moved)
    if not facts and number in failures:
        return TrialStatus(number, FAILED, {'reason': failures[number]}, moved)
    begun = bool(moves) if earlier else trial_state.STATE in moves
    return TrialStatus(number, INTERRUPTED if begun else NOT_BEGUN, facts, moved)


def silence(holder):
    """What there is to say of a holder that does not beat."""
    return 'process %s on %s, no heartbeat for %d minutes' % (
        holder.pid or '?', holder.host, holder.silent_seconds // 60)


def _moves(folder):
    """{file: when it was written} of the files that say something."""
    found = {}
    for name in MOVES:
        try:
            found[name] = os.stat(os.path.join(folder, name)).st_mtime
        except OSError:
            pass        # it is not there
    return found


def failures_in_log(run_folder):
    """{number of a trial: why it failed} as the log says, since the last command began."""
    found = {}
    try:
        with open(os.path.join(run_folder, LOG), 'rb') as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_BYTES))
            lines = stream.read().decode('utf-8', 'replace').split('\n')
    except OSError:
        return found
    for line in lines:
        line = line[len('2020-01-01 00:00:00 '):]
        if line.startswith('start: '):
            found = {}
        failed = re.match(r'trial (\d+) failed: (.*)|error: trial (\d+)(?:: | )(.*)', line)
        if failed:
            number, why = [group for group in failed.groups() if group is not None]
            found.setdefault(int(number), why)
    return found


def ago(moment):
    """'12 s ago', '3 h ago'."""
    if moment is None:
        return '-'
    seconds = seconds_since(moment)
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'min')):
        if seconds >= size:
            return '%d %s ago' % (seconds // size, unit)
    return '%d s ago' % seconds


def duration(seconds):
    """'0:03:10'."""
    seconds = int(seconds)
    return '%d:%02d:%02d' % (seconds // 3600, seconds // 60 % 60, seconds % 60)


def trial_line(trial):
    """What there is to say of a trial that is neither finished nor still to begin: a line."""
    facts, parts = trial.facts, []
    if trial.state == RUNNING and 'host' in facts:
        parts.append('on %s' % facts['host'])
    if 'epoch' in facts:
        parts.append('task %d (position %d)' % (facts['task'], facts.get('position', 0))
                     if 'task' in facts else 'all tasks')
        parts.append('epoch %d/%d' % (facts['epoch'], facts.get('epochs', 0)))
    elif trial.state == RUNNING:
        parts.append('no epoch is done yet')
    parts += ['%s accuracy %.3f' % (name, facts[key])
              for key, name in (('valid', 'validation'), ('test', 'test')) if key in facts]
    if trial.seconds_left is not None:
        parts.append('%s left' % duration(trial.seconds_left))
    if 'reason' in facts:
        parts.append(facts['reason'])
    return 'trial %d %s%s' % (trial.number, trial.state, ': ' * bool(parts) + ', '.join(parts))
