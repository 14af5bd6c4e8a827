"""What the origins of several experiments' numbers say about comparing them: data, libraries, code."""
from collections import OrderedDict

from classification.results import origin
from classification.results.summary import distinct

# Modules that all methods use alike: their digests do not depend on the method, as those of others do, of
# which a digest covers what the method reaches.
COMMON = ('classification.train', 'classification.trial.', 'classification.gen_data', 'classification.data.',
          'classification.results.', 'classification.analysis.', 'utils.runtime')
# Of these the digests depend on --lifelong.
OF_SCHEDULE = ('classification.trial.schedule', 'classification.trial.task_graph')
SHOWN = 3       # modules


def data_checksums(one):
    """((of the raw data, of the design),) of a Reported, as config.json or else the trials' origins tell;
    None: they do not."""
    told = one.config.get('experiment', {}).get('checksums')
    if told:
        return origin.checksums({'data_checksum': told.get('raw'), 'design_checksum': told.get('design')}),
    # a trial that continues a shorter experiment began with the data of that one
    of_trials = {origin.checksums(stretches[-1]) for stretches in origin.from_entry(one.result).values()
                 if stretches}
    return tuple(sorted(of_trials - {('', '')})) or None


def notes(members):
    """Lines on what is not the same in the origins of experiments that are compared, or not known.

    Args:
        members: list of Reported with unique labels.
    """
    if len(members) < 2:
        return []
    unknown = [one.label for one in members if 'data_type' in one.result and data_checksums(one) is None]
    lines = []
    if unknown:
        lines.append('It is not known whether all methods were trained on the same data: '
                     'there are no checksums of %s.' % ', '.join(unknown))
    libraries = _differing(members, lambda stretch: stretch['versions'].items()).values()
    if libraries:
        lines.append('Not all methods were trained with the same libraries: %s.' % '; '.join(libraries))
    code = list(_differing(members, numeric_versions).values())
    modules = list(_differing(members, _common_modules))
    if modules:
        code.append(', '.join(modules[:SHOWN]) + (
            ' and %d more' % (len(modules) - SHOWN) if len(modules) > SHOWN else ''))
    if code:
        lines.append('Not all methods were trained with the same code: %s.' % '; '.join(code))
    return lines


def numeric_versions(stretch):
    """[('numerics', '2'), ...]: versions of the code that computed; [] where they are not known."""
    text = stretch.get('numeric_versions')
    pairs = text.split(', ') if isinstance(text, str) else []
    return [tuple(pair.rsplit(' ', 1)) for pair in pairs if ' ' in pair]


def _common_modules(stretch):
    return [(name, digest) for name, digest in zip(stretch['source_modules'], stretch['source_digests'])
            if name.startswith(COMMON) and name not in OF_SCHEDULE]


def _differing(members, pairs_of):
    """OrderedDict name -> 'numpy 1.16.6 (STL), 1.21.0 (HPS)', of what is not the same in all origins that are
    known and have it.

    Args:
        pairs_of: function of an origin -> (name, value) pairs.
    """
    used = OrderedDict()            # name -> value -> labels
    for one in members:
        for stretches in origin.from_entry(one.result).values():
            for stretch in filter(None, stretches):
                for name, value in pairs_of(stretch):
                    used.setdefault(name, OrderedDict()).setdefault(value, []).append(one.label)
    return OrderedDict((name, '%s %s' % (name, ', '.join('%s (%s)' % (value, ', '.join(distinct(labels)))
                                                         for value, labels in values.items())))
                       for name, values in used.items() if len(values) > 1)
