"""The state of experiments as a table to read, as CSV and as JSON."""
import csv
import io
import json
import time
from collections import OrderedDict

from classification.report.tables import aligned
from classification.status.trials import FAILED, FINISHED, NOT_BEGUN, RUNNING, STALE, STATES, ago, trial_line
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, plural, printable_line

MOST_LINES = 20           # of trials of one experiment


def text(found):
    """A row for each experiment, and below it a line for each trial that runs or does not go on by itself."""
    rows = [('result', 'method', 'data', 'options that differ', 'trials', 'state', 'moved')]
    rows += [(one.result, one.method, one.data, one.options or '-', trials_text(one), state_text(one),
              ago(one.moved)) for one in found]
    lines = aligned([tuple(map(printable_line, row)) for row in rows], indent='')
    table = lines[:1]
    for one, line in zip(found, lines[1:]):
        table += [line] + ['    ' + line for line in details(one)]
    return '\n'.join(table + ['', summary_line(found)]) + '\n'


def trials_text(one):
    """'2 of 5'."""
    return '%d of %d' % (one.count(FINISHED), len(one.trials))


def state_text(one):
    """'finished', or how many trials are in which state: '1 running, 2 not begun'."""
    others = ['%d %s' % (one.count(state), state) for state in STATES
              if state != FINISHED and one.count(state)]
    if one.trouble is not None and not one.count(one.trouble):
        others.insert(0, one.trouble)
    return ', '.join(others) or one.state


def details(one):
    """Lines on an experiment and its trials, as far as there is something to say."""
    lines = [printable_line(one.note)] if one.note else []
    trials = [trial for trial in one.trials if trial.state not in (FINISHED, NOT_BEGUN)]
    lines += [printable_line(trial_line(trial)) for trial in trials[:MOST_LINES]]
    if len(trials) > MOST_LINES:
        lines.append('and %s more' % plural(len(trials) - MOST_LINES, 'trial'))
    return lines


def summary_line(found, noun='experiment'):
    """'12 experiments: 9 finished, 1 failed, 2 running'."""
    counts = OrderedDict((state, sum(one.state == state for one in found)) for state in STATES)
    return '%s: %s' % (plural(len(found), noun), ', '.join(
        '%d %s' % (count, state) for state, count in counts.items() if count))


COLUMNS = ('result', 'folder', 'method', 'data', 'options', 'state', 'trials') + tuple(
    state.replace(' ', '_') for state in STATES) + ('moved', 'seconds_left', 'details')


def as_csv(found):
    """A row for each experiment; what is not known is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(COLUMNS)
    for one in found:
        row = _plain(one)
        writer.writerow(['' if row[name] is None else row[name] for name in COLUMNS[:-1]]
                        + ['; '.join(details(one))])
    return stream.getvalue()


def as_json(found):
    """A list with an object for each experiment, its trials in it."""
    return json.dumps([dict(_plain(one), trials_in_detail=[_trial(trial) for trial in one.trials])
                       for one in found], indent=1) + '\n'


def _plain(one):
    running = [trial.seconds_left for trial in one.trials if trial.state == RUNNING]
    return OrderedDict(
        [('result', one.result), ('folder', one.folder), ('method', one.method), ('data', one.data),
         ('options', one.options), ('state', one.state), ('trials', len(one.trials))]
        + [(state.replace(' ', '_'), one.count(state)) for state in STATES]
        + [('moved', _moment(one.moved)),
           # of the trials that run now, side by side
           ('seconds_left', None if not running or None in running else round(max(running), 1)),
           ('command', one.command), ('fingerprint', one.fingerprint), ('note', one.note)])


def _trial(trial):
    facts = {name: value if value == value and abs(value) != float('inf') else None
             for name, value in trial.facts.items() if isinstance(value, (int, float))}
    facts.update((name, value) for name, value in trial.facts.items() if isinstance(value, str))
    return dict(facts, trial=trial.number, state=trial.state, moved=_moment(trial.moved),
                seconds_left=trial.seconds_left)


def _moment(moved):
    return None if moved is None else time.strftime('%Y-%m-%dT%H:%M:%S%z', time.localtime(moved))


FORMATS = {'text': text, 'csv': as_csv, 'json': as_json}


def exit_states(states):
    """Exit status for the states of all experiments: 0 all are finished; 1 one failed or is stale; 75 the
    others."""
    if {FAILED, STALE} & set(states):
        return EXIT_FAILED
    return 0 if set(states) <= {FINISHED} else EXIT_INTERRUPTED
