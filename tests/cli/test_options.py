from dsmooth.backends.choice import BACKENDS
from dsmooth.classifiers.specs import CLASSIFIERS
from dsmooth.denoisers.names import FETCHED, SHIPPED, UNTRAINED
from support import dsmooth


def test_help_lists_what_is_found_by_name():
    shown = dsmooth("certify", "--help").out
    for name in (*BACKENDS, *CLASSIFIERS, *SHIPPED, *UNTRAINED, *FETCHED):
        assert name in shown, name
