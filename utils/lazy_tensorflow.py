"""`tf`: TensorFlow, imported when something of it is asked for, so that a class which uses it can be declared
without."""
import types


class _Lazy(types.ModuleType):
    """Stands for the module; what was asked for once is kept."""

    def __getattr__(self, name):
        if name.startswith('__') and name != '__version__':        # what Python itself asks modules for
            raise AttributeError(name)
        from utils.runtime import tf as module
        value = getattr(module, name)
        setattr(self, name, value)
        return value


tf = _Lazy('tensorflow.compat.v1')
