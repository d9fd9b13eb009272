"""Forward passes that stop at layers, so that a layer can be changed before its waiting images pass through it.

To repair a network layer by layer, each layer needs the outputs of the layers before it, which are already repaired, for all
images. Running the images again for every layer would cost one pass for each layer; keeping every map would need unlimited
memory. Here each batch has its own forward pass, which waits inside the layer. All layers together cost one pass, and only the
tensors that a forward pass needs stay in memory. Each pass runs in a thread, but only one thread at a time, so results do not
depend on timing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError

__all__ = ["HaltingPass", "Halts", "halting"]


class _Abandoned(BaseException):
    """Unwinds the forward pass of a batch that is no longer needed."""


class HaltingPass:
    """One forward pass that runs from one halt to the next.

    After `go_on`, `layer` is the path of the layer where it waits (None: the pass has ended), and `tensor` is the input or
    output of that layer.
    """

    def __init__(self, halts: Halts, run: Callable[[], object]) -> None:
        self.layer: str | None = None
        self.tensor: Tensor | None = None
        self._halts, self._run = halts, run
        self._turn, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._started = False

    def go_on(self) -> str | None:
        """Run to the next halt. Returns its layer, or None at the end. Raises what the pass raised."""
        self._halts.running = self
        self.layer = self.tensor = None
        if self._started:
            self._turn.release()
        else:
            self._started = True
            self._thread.start()
        self._stands.acquire()
        if self._error is not None:
            raise self._error
        return self.layer

    def go_to(self, layer: str) -> Tensor:
        """Run until the pass waits at `layer`; returns the tensor there. Raises `PruningError` when it never reaches it."""
        while self.layer != layer:
            if self.go_on() is None:
                raise PruningError(
                    f"{layer} did not run for every batch in the same order: a network in which the input decides which layers "
                    f"run cannot be reconstructed."
                )
        assert self.tensor is not None  # `stand` sets it together with the layer
        return self.tensor

    def abandon(self) -> None:
        """End the pass where it waits, and free its memory."""
        self._abandoned = True
        if self._started and self._thread.is_alive():
            self._halts.running = self
            self._turn.release()
            self._thread.join()

    def stand(self, layer: str, tensor: Tensor) -> None:
        """Called inside the pass: wait here until `go_on`."""
        self.layer, self.tensor = layer, tensor
        self._stands.release()
        self._turn.acquire()
        if self._abandoned:
            raise _Abandoned

    def _work(self) -> None:
        try:
            torch.get_num_threads()  # a new thread computes with torch's number of threads only after this call
            with torch.no_grad():
                self._run()
        except _Abandoned:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.layer = self.tensor = None
            self._stands.release()


class Halts:
    """The halts of one module; `running` is the pass whose turn it is."""

    def __init__(self) -> None:
        self.running: HaltingPass | None = None

    def stand(self, layer: str, tensor: object) -> None:
        """Called inside a layer: the running pass waits here."""
        if self.running is not None and isinstance(tensor, Tensor):
            self.running.stand(layer, tensor)


@contextmanager
def halting(module: nn.Module, layers: Iterable[str], *, before: bool) -> Iterator[Halts]:
    """Inside the block, passes of `module` wait at `layers`: with `before`, at their inputs, otherwise at their outputs."""
    halts = Halts()

    def entering(layer: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        return lambda _, inputs: halts.stand(layer, inputs[0] if inputs else None)

    def leaving(layer: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        return lambda _, inputs, output: halts.stand(layer, output)

    handles = []
    for layer in layers:
        part = module.get_submodule(layer)
        hook = part.register_forward_pre_hook(entering(layer)) if before else part.register_forward_hook(leaving(layer))
        handles.append(hook)
    try:
        yield halts
    finally:
        for handle in handles:
            handle.remove()
