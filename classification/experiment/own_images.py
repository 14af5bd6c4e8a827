"""What --images and the flags around it mean: the data set Images, chosen from the command line."""
import os

from classification import gen_data
from classification.data import image_layouts, readers_images
from utils.utils import UserError, lookup


def choose(flags, data_type, given, say, begun=dict):
    """Makes the data set of the user's own images what the flags ask for; returns its options, None for other
    data sets.

    Args:
        flags: namespace of main.py's parser.
        given: dict name -> value of the options that the user gave.
        say: function of one line for the user.
        begun: as in resolve.resolve.
    Raises:
        UserError: anything wrong with the flags or the files.
    """
    if data_type != readers_images.NAME:
        if flags.images is not None:
            raise UserError(
                '--images %s: it is for --data_type %s, and %s was asked for; leave one of them away'
                % (flags.images, readers_images.NAME, data_type))
        return None
    if flags.images is None:
        readers_images.OwnImages().files(flags.data_dir)        # says what is missing
    if given.get('network') is not None:
        networks = {name: name for name, dataset in gen_data.DATASETS.items()
                    if name != readers_images.NAME and dataset.origin is None}
        given = dict(given, network=lookup(networks, given['network'], 'network'))
    defaults = {option.name: option.default for option in readers_images.OPTIONS}
    listing = image_layouts.read(flags.images, *[given.get(name, defaults[name]) for name in (
        'images_layout', 'classes_per_task')])
    listing, given = _as_before(listing, given, flags, begun(), say)
    for note in listing.notes:
        say(note)

    def facts():
        source = readers_images.OwnImages(listing)
        source.bar = not flags.quiet
        return source.facts(flags.data_dir, say)

    options = readers_images.settled(listing, given, facts)
    num_tasks = flags.num_tasks if flags.num_tasks and flags.num_tasks > 0 else None
    gen_data.choose_options(data_type, options, flags.images, num_tasks, listing.tasks, not flags.quiet)
    return options


def _as_before(listing, given, flags, begun, say):
    """(listing, given) with the order of tasks, the size and the channels of the longest experiment under the
    same file name that had the first of these tasks; as they are where there is none."""
    best, lost = None, None
    for folder, config in begun.items():
        tasks, options = config.get('tasks'), config['experiment'].get('data_options', {})
        if config['experiment'].get('data_type') != readers_images.NAME or not tasks:
            continue
        if any(name in options and _plain(options[name]) != _plain(value) for name, value in given.items()
               if name != 'images_layout'):       # which is stored as it was taken
            continue
        try:
            continuing = listing.continuing(tasks)
        except (TypeError, ValueError):         # they are damaged
            continue
        if continuing is None and config['settings'].get('images') == os.path.abspath(flags.images):
            lost = folder, _reason(listing, tasks)
        if continuing is not None and (best is None or len(tasks) > len(best[1])):
            best = continuing, tasks, options
    if best is None:
        if lost:
            say('%s is not continued: %s' % lost)
        return listing, given
    kept = {name: best[2][name] for name in ('image_size', 'image_channels', 'network') if name in best[2]}
    return best[0], dict(kept, **given)


def _reason(listing, tasks):
    """Why a listing does not continue tasks, see Listing.continuing."""
    there = {name for _, classes in listing.tasks for name in classes}
    if listing.cut and all(there.issuperset(classes) for _, classes in tasks):
        return 'a single new class makes no task; add another one'
    return 'its tasks no longer have the classes that they had'


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def ignored(data_type):
    """(flag, why, default) of those flags that have no effect on this data set, chosen before."""
    if data_type != readers_images.NAME:
        return [(option.flag, 'it is for --data_type %s' % readers_images.NAME, option.default)
                for option in readers_images.OPTIONS]
    defaults = {option.name: option.default for option in readers_images.OPTIONS}
    return [(name, why, defaults[name]) for name, why in readers_images.without_meaning(
        gen_data.DATASETS[data_type].source.listing)]
