"""Executors that stand for a cluster: nothing but pickled bytes gets through."""

import contextlib
import os
import pathlib
import pickle
import signal
from multiprocessing import connection

from data_prep.executors.executor import Resources


class Pickled:
    """Does the units here, in another working folder, from pickled copies.

    Attributes:
      asked: arguments of `choose.executor`, and of `devices`.
      passed: everything that went through, as (unit, returned name).
      costs: of the units, in the order in which they were done.

    Args:
      elsewhere: the working folder of the units.
      resources: what `devices` returns.
    """

    def __init__(self, elsewhere, resources=None):
        self._elsewhere = elsewhere
        self._resources = resources or Resources(num_cpus=1)
        self.asked, self.passed, self.costs = [], [], []

    def made(self, placement, *, shared):
        """Takes the place of `choose.executor`."""
        self.asked.append((placement, shared))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def devices(self, *, gpus=True):
        self.asked.append(gpus)
        return self._resources

    def note(self):
        return "3 nodes"

    def run_loaded(self, load, units, *, cost_of, resources):
        assert resources == self._resources
        with _working_in(self._elsewhere):
            function = sent(load)()
        for unit in sorted(units, key=cost_of, reverse=True):
            with _working_in(self._elsewhere):
                name = function(sent(unit))
            self.costs.append(cost_of(unit))
            self.passed.append((unit, name))
            yield unit, name


class Forked(Pickled):
    """Does the units in forks of this process, which has not used TensorFlow yet.

    A fork that is killed loses its unit, which another fork then does.

    Args:
      elsewhere: see Pickled.
      num_cpus: cores of each fork.
      num_forks: number of forks.
    """

    def __init__(self, elsewhere, *, num_cpus, num_forks):
        super().__init__(elsewhere, Resources(num_cpus=num_cpus))
        self._num_forks = num_forks
        self.num_lost = 0

    def run_loaded(self, load, units, *, cost_of, resources):
        todo = sorted(units, key=cost_of)
        forks = {}
        while todo or forks:
            while todo and len(forks) < self._num_forks:
                fork = _Fork(sent(load), self._elsewhere)
                fork.give(todo.pop())
                forks[fork.pipe] = fork
            for pipe in connection.wait(list(forks)):
                fork = forks[pipe]
                try:
                    answer = pipe.recv()
                except EOFError:
                    # Killed.
                    todo.append(fork.unit)
                    self.num_lost += 1
                    forks.pop(pipe).end()
                    continue
                if isinstance(answer, Exception):
                    for other in forks.values():
                        other.end()
                    raise answer
                self.passed.append((fork.unit, answer))
                yield fork.unit, answer
                if todo:
                    fork.give(todo.pop())
                else:
                    forks.pop(pipe).end()


class _Fork:
    def __init__(self, load, elsewhere):
        self.pipe, other = connection.Pipe()
        self.pid = os.fork()
        if self.pid:
            other.close()
            return
        self.pipe.close()
        try:
            os.chdir(elsewhere)
            function = None
            while True:
                unit = other.recv()
                function = function or load()
                other.send(function(unit))
        except EOFError:
            os._exit(0)
        except Exception as e:  # noqa: BLE001 - the test's driver raises it
            other.send(e)
        os._exit(1)

    def give(self, unit):
        self.unit = unit
        self.pipe.send(unit)

    def end(self):
        self.pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def sent(value):
    """Returns what arrives of a value in another process."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


@contextlib.contextmanager
def _working_in(folder):
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def elsewhere(tmp_path) -> pathlib.Path:
    """Returns a folder in which relative paths lead nowhere."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder
