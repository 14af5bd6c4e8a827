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
    """(libraries, modules) in which two origins differ: OrderedDict library -> both versions; sorted list of
    modules.

    A module that was only moved is the same: what counts is its digest. Nothing differs from an unknown
    origin.
    """
    if not one or not other:
        return OrderedDict(), []
    libraries = OrderedDict((name, (one['versions'].get(name), other['versions'].get(name)))
                            for name in sorted(set(one['versions']) | set(other['versions']))
                            if one['versions'].get(name) != other['versions'].get(name))
    return libraries, sorted({name for here, there in ((one, other), (other, one))
                              for name, digest in zip(here['source_modules'], here['source_digests'])
                              if digest not in there['source_digests']})


def described(libraries, modules):
    """'numpy 1.16.6 and 1.21.0; code of classification.train':
    what `differences` gave, for people; '' for nothing."""
    texts = ['%s %s' % (name, ' and '.join(str(version) for version in pair)) for name,
             pair in libraries.items()]
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
    """The stretches of a trial that goes on: a new one where libraries or code changed, or may have."""
    if stretches and bool(stretches[-1]) == bool(now) and differences(stretches[-1], now) == (
            OrderedDict(), []):
        return list(stretches)
    return list(stretches) + [now]


def mixture(trials):
    """What the origins of one experiment's numbers differ in, in words; '' for nothing.

    Args:
        trials: OrderedDict number of the trial -> its stretches.
    """
    known = [origin for stretches in trials.values() for origin in stretches if origin]
    libraries, modules = OrderedDict(), set()
    for origin in known[1:]:
        changed, edited = differences(known[0], origin)
        for name, pair in changed.items():
            libraries[name] = list(OrderedDict.fromkeys(libraries.get(name, [pair[0]]) + [pair[1]]))
        modules.update(edited)
    texts = [text for text in [described(libraries, sorted(modules))] if text]
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
