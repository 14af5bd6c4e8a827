"""Where a trial's numbers come from, and in what two origins differ.

A trial was trained in one stretch or, where it was resumed under other code or libraries, in several. Each
stretch has an origin, a dict of FIELDS; of one trained before origins were recorded it is empty: unknown.
"""
from collections import OrderedDict

import numpy as np

FIELDS = ('data_checksum', 'design_checksum', 'data_folder', 'versions', 'host', 'device', 'threads',
          'git_commit',
          'uncommitted_changes', 'source_modules', 'source_digests', 'numeric_versions', 'started')
UNKNOWN = {}


def differences(one, other):
    """(values, modules) in which two origins differ: OrderedDict library, 'device' or 'threads' -> both
    values; sorted list of modules.

    A module that was only moved is the same: what counts is its digest. Nothing differs from an unknown
    origin.
    """
    if not one or not other:
        return OrderedDict(), []
    values = OrderedDict((name, (one['versions'].get(name), other['versions'].get(name)))
                         for name in sorted(set(one['versions']) | set(other['versions']))
                         if one['versions'].get(name) != other['versions'].get(name))
    values.update(_machines(one, other))
    return values, sorted({name for here, there in ((one, other), (other, one))
                           for name, digest in zip(here['source_modules'], here['source_digests'])
                           if digest not in there['source_digests']})


def _machines(one, other):
    """(name, both values) of what computed, where it is known and changes the last bits of numbers: the kind
    of device and, of CPUs, the threads."""
    devices, threads = zip(*[(origin.get('device'), _threads(origin)) for origin in (one, other)])
    if all(isinstance(device, str) and device for device in devices) and devices[0] != devices[1]:
        return [('device', devices)]
    if devices == ('CPU', 'CPU') and None not in threads and threads[0] != threads[1]:
        return [('threads', threads)]
    return []


def _threads(origin):
    """An int, also from a file, which holds an array; None: not known."""
    threads = np.ravel(origin.get('threads'))
    return int(threads[0]) if threads.size == 1 and threads[0] is not None else None


def described(values, modules):
    """'numpy 1.16.6 and 1.21.0; code of classification.train':
    what `differences` gave, for people; '' for nothing."""
    texts = ['%s %s' % (name, ' and '.join(map(str, both))) for name, both in values.items()]
    return '; '.join(texts + (['code of %s' % ', '.join(modules)] if modules else []))


def in_words(stretch):
    """One stretch of training in a line."""
    if not stretch:
        return 'unknown'
    return '%s, %s, %s; git commit %s%s; began %s' % (
        ', '.join('%s %s' % pair for pair in stretch['versions'].items()), stretch['host'], stretch['device'],
        stretch['git_commit'] or 'unknown', ' with uncommitted changes'
        if np.any(stretch['uncommitted_changes']) else '', stretch['started'])


def continued(stretches, now):
    """The stretches of a trial that goes on: a new one where libraries, machine, code or data changed, or may
    have. Data change where a longer experiment has further tasks."""
    if stretches and bool(stretches[-1]) == bool(now) and differences(stretches[-1], now) == (
            OrderedDict(), []) and checksums(stretches[-1]) == checksums(now):
        return list(stretches)
    return list(stretches) + [now]


def checksums(origin):
    """(of the raw data, of the design) as an origin tells; '' where there is none."""
    return tuple(text if isinstance(text, str) else ''
                 for text in (origin.get('data_checksum'), origin.get('design_checksum')))


def mixture(trials):
    """What the origins of one experiment's numbers differ in, in words; '' for nothing.

    Args:
        trials: OrderedDict number of the trial -> its stretches.
    """
    known = [origin for stretches in trials.values() for origin in stretches if origin]
    values, modules = OrderedDict(), set()
    for origin in known[1:]:
        changed, edited = differences(known[0], origin)
        for name, pair in changed.items():
            values[name] = list(OrderedDict.fromkeys(values.get(name, [pair[0]]) + [pair[1]]))
        modules.update(edited)
    texts = [text for text in [described(values, sorted(modules))] if text]
    unknown = [str(number) for number, stretches in trials.items() if not stretches or not all(stretches)]
    if known and unknown:
        texts.append('unknown origin of trial %s' % ', '.join(unknown))
    return '; '.join(texts)


def with_new(trials, now):
    """The same trials and one more, which was trained just now."""
    return OrderedDict(list(trials.items()) + [('new', [now])])


def as_fields(stretches):
    """The stretches of a trial as the .mat file holds them: every field, empty where it is not known."""
    empty = {'versions': {'python': ''}, 'threads': None, 'uncommitted_changes': None, 'source_modules': None,
             'source_digests': None}
    return [{name: empty.get(name, '') if origin.get(name) is None else origin[name] for name in FIELDS}
            for origin in stretches]


def from_entry(entry):
    """OrderedDict trial -> stretches of an entry of a result file; unknown where the file does not say it."""
    numbers = entry.get('train_valid_data_group', np.array([]))
    numbers = numbers.ravel().astype(int).tolist() if isinstance(numbers, np.ndarray) else []
    cells = entry.get('origin')
    cells = cells if isinstance(cells, list) and len(cells) == len(numbers) else [[]] * len(numbers)
    return OrderedDict((number, [from_fields(origin) for origin in cell] if isinstance(cell, list) else [])
                       for number, cell in zip(numbers, cells))


def from_fields(fields):
    """The origin that a file holds; UNKNOWN where it holds none."""
    known = isinstance(fields, dict) and all(
        isinstance(fields.get(name), list) and all(isinstance(text, str) for text in fields[name])
        for name in ('source_modules', 'source_digests'))
    return fields if known and isinstance(fields.get('versions'), dict) else UNKNOWN
