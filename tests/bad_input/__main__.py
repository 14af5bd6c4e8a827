"""Tries the whole corpus and prints what came of it: python3 -m tests.bad_input"""
import pathlib
import sys
import tempfile
from collections import OrderedDict

from tests.bad_input.corpus import ENTRIES
from tests.bad_input.trial import FAULTS, Materials, faults, tried

TITLES = ('kind', 'bad inputs tried', 'traceback', 'wrong status', 'not one line', 'not named', 'written',
          'odd inputs that work')


def main():
    """Prints the table; the exit status is 1 if any answer was wrong."""
    rows = OrderedDict()
    with tempfile.TemporaryDirectory() as place:
        materials = Materials(pathlib.Path(place))
        for entry in ENTRIES:
            row = rows.setdefault(entry.kind, dict.fromkeys(FAULTS + ('tried', 'works'), 0))
            with tempfile.TemporaryDirectory(dir=place) as folder:
                outcome = tried(entry, pathlib.Path(folder), materials)
                found = faults(entry, outcome)
                if entry.check is not None and not entry.check(pathlib.Path(folder), outcome):
                    found.append('not named')
            for fault in found:
                row[fault] += 1
            row['works' if entry.works else 'tried'] += 1
            if found:
                sys.stderr.write('%s, %s: %s\n%s%s\n' % (entry.kind, ascii(entry.name), ', '.join(found),
                                                         outcome.err, outcome.raised))
    rows['all'] = {name: sum(row[name] for row in rows.values()) for name in FAULTS + ('tried', 'works')}
    print('| %s |\n|%s' % (' | '.join(TITLES), '---|' * len(TITLES)))
    for kind, row in rows.items():
        print('| %s |' % ' | '.join([kind] + [str(row[name]) for name in ('tried',) + FAULTS + ('works',)]))
    return int(any(rows['all'][fault] for fault in FAULTS))


if __name__ == '__main__':
    sys.exit(main())
