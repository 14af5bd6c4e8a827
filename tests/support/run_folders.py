"""Run folders as commands leave them, made up: without training."""
import io
import json
import os
import time

from classification.results.trial_record import save_record
from classification.runs import trial_state
from tests.support.result_files import record
from utils import locks


def write_json(path, content):
    with io.open(str(path), 'w', encoding='utf-8') as stream:
        stream.write(u'%s' % json.dumps(content))


def run_folder(result, model='Hybrid_HPS', digits='0' * 8, trials=2, finished=False, command='',
               **experiment):
    """Makes a run folder with a config.json below Result/NAME (a pathlib.Path)."""
    folder = result / ('%s-%s' % (model, digits))
    folder.mkdir(parents=True)
    experiment = dict({'model_type': model, 'data_type': 'DIGITS5', 'seed': 0, 'pattern': 'TTSS',
                       'training': {'epochs': 5}, 'options': {}}, **experiment)
    config = {'experiment': experiment, 'settings': {}, 'fingerprint': digits * 8, 'finished': finished,
              'command': command or 'main.py --num_runs 2'}
    write_json(folder / 'config.json', config if trials is None else dict(config, trials=list(range(trials))))
    return folder


def trial(folder, number, seconds=None, **facts):
    """Makes a trial's folder; with a time of training it has a record, with facts a state.json."""
    place = folder / ('trial%d' % number)
    place.mkdir(exist_ok=True)
    if seconds is not None:
        save_record(str(place / 'record.npz'), record([[.9]], trial=number, seconds=seconds))
    if facts:
        write_json(place / trial_state.STATE, dict({'version': 1}, **facts))
    return place


def token(folder, silent=0., host='elsewhere', **facts):
    """The token of a lock that a process of another machine holds, without a heartbeat for some seconds."""
    path = folder / '.lock.token'
    write_json(path, dict({'host': host, 'pid': 7, 'boot': 'other', 'space': 'other'}, **facts))
    os.utime(str(path), (time.time() - silent,) * 2)


def here(pid):
    """What the token of a process of this machine says of it."""
    return dict(locks._here(), pid=pid, started='')
