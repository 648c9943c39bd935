"""A kill in the middle of a run, for tests of resuming."""


class KilledError(Exception):
    """Stands for a kill between two save intervals."""


def kill_at(time):
    """Return a progress callback that raises after a time [ps]."""

    def progress(done, total, note=""):
        if done >= time - 1e-9:
            raise KilledError

    return progress
