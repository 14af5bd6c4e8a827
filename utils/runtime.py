"""TensorFlow as this project uses it: graph mode, resource variables, no chatter, on 1.14 and on 2 alike.

The only place that knows that there are two generations. Import it before anything else imports TensorFlow.
"""
import os
import warnings
from collections import OrderedDict

import numpy  # noqa: F401  before the warnings are caught, so that its own filters stay

from utils.utils import silent_libraries

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# TensorFlow 2 uses oneDNN's convolutions by itself on some processors only; with it training is faster on all
# that were tried.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

with silent_libraries(), warnings.catch_warnings():        # C++ writes before its log level is known
    warnings.simplefilter('ignore')
    import tensorflow.compat.v1 as tf
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_v2_behavior()
    tf.enable_resource_variables()


def session_config(threads, use_gpu=False, gpu_memory_fraction=None):
    """A ConfigProto: `threads` cores, and GPU memory taken as it is needed, at most that fraction.

    Ops run one after the other (each on `threads` cores): a result never depends on which op came first.
    """
    config = tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1,
                            allow_soft_placement=True)
    if use_gpu:
        config.gpu_options.allow_growth = True
        if gpu_memory_fraction is not None:
            config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
    else:
        config.device_count['GPU'] = 0
    return config


def usable_gpus(config):
    """Descriptions of the GPUs that this TensorFlow can compute on, [] for none.

    Args:
        config: of the sessions to come: this call already decides how memory is taken.
    Raises:
        RuntimeError: TensorFlow sees a GPU and cannot open it.
    """
    from tensorflow.python.client import device_lib
    return [device.physical_device_desc for device in device_lib.list_local_devices(config)
            if device.device_type == 'GPU']


def cuda_versions():
    """OrderedDict of the CUDA and cuDNN that this TensorFlow was built for;
    empty for a build without them."""
    try:
        from tensorflow import sysconfig
        found = sysconfig.get_build_info()
        names = 'cuda_version', 'cudnn_version'
    except AttributeError:      # 1.14
        from tensorflow.python.platform import build_info
        found, names = vars(build_info), ('cuda_version_number', 'cudnn_version_number')
    return OrderedDict((short, found[name]) for short, name in zip(('cuda', 'cudnn'), names)
                       if found.get(name))
