# SPDX-License-Identifier: BSD-3-Clause
"""Training that can be killed at any time: one loop for the networks of all models.

A model says what it learns by a `Task`; `train` steps the optimiser, keeps the schedule, writes
checkpoints and logs, and runs as well below ``torchrun``. All data are addressed by step, so the
position in them is one number, and what a run computes does not depend on whether it was
interrupted.
"""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from blurmodels import checkpoints
from blurmodels.training_settings import Settings, computing_in
from blurmodels.training_state import Distributed, distributed, load_state, save_state
from blurops.files import replacing

__all__ = ["EVENTS", "LOG", "STATE", "WEIGHTS", "Settings", "Task", "train"]

STATE, WEIGHTS, LOG, EVENTS = "state.safetensors", "weights.safetensors", "log.csv", "events"
# What may change between a run and its continuation without changing what is computed.
_FREE = ("checkpoint_every", "log_every", "picture_every", "workers")
# Settings that came later, as they were before.
_FIRST = {
    "optimiser": "adam",
    "momentum": 0.0,
    "betas": [0.9, 0.999],
    "periods": [],
    "least_rate": 0.0,
}


class Task(Protocol):
    """What is learned.

    Attributes:
        network: what is trained, initial weights included.
        name: of the model, written into checkpoints.
        record: JSON values that say what is learned and from what; a run goes on with equal ones.
    """

    network: nn.Module
    name: str
    record: Mapping[str, Any]

    def samples(self, first: int, last: int, part: slice) -> Any:
        """What makes up the samples `range(first, last)[part]`, on the CPU; runs in workers too."""

    def losses(self, network: Callable, samples: Any, step: int, device: torch.device) -> dict:
        """The terms of the loss by name, each a mean over the samples; their sum is made small.

        `network` is that of the task, perhaps wrapped for several processes: call this one.
        """

    def pictures(self, network: Callable, step: int, device: torch.device) -> dict[str, Tensor]:
        """Pictures (3, H, W) in [0, 1] by name that show what has been learned."""

    def export(self, path: Path, **record: Any) -> None:
        """Writes the weights for use, with a record of the training."""


def train(
    task: Task,
    settings: Settings,
    folder: str | os.PathLike[str],
    *,
    resume: bool = True,
    tensorboard: bool = False,
    device: torch.device | str = "cpu",
    progress: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Trains a network, or goes on with it where a run was interrupted.

    Args:
        task: what is learned.
        settings: how.
        folder: gets `state.safetensors`, all that is needed to go on; `weights.safetensors`, the
            network for use; `log.csv`, one row per `log_every` steps; and `events` for TensorBoard.
            It is made if need be.
        resume: go on from the state in the folder, if there is one. A run that was killed and goes
            on ends with the same weights, bit for bit, as one that was not (on the same machine and
            number of threads and processes). False refuses a folder that holds a state.
        tensorboard: write scalars and pictures for TensorBoard.
        device: where to compute; below ``torchrun`` each process takes its own GPU, if there are.
        progress: show a progress bar on stderr.
        on_step: called after each step with its number, from 1 on, and its losses.

    Returns:
        The path of the weights.

    Raises:
        ValueError: the state in the folder is of another training, or damaged; or the batch cannot
            be divided among the processes.
        FileExistsError: `resume` is False and there is a state.
        ModuleNotFoundError: TensorBoard is wanted and not installed.
        FloatingPointError: the loss is no longer finite; the last checkpoint is as it was.
    """
    folder = Path(folder)
    with distributed(device) as place:
        if settings.batch_size % place.count:
            raise ValueError(
                f"train: batch_size must be a multiple of the {place.count} processes,"
                f" got {settings.batch_size}"
            )
        if not resume and (folder / STATE).exists():
            raise FileExistsError(17, "holds a training that was begun", str(folder / STATE))
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        run = _Run(task, settings, folder, place)
        if (folder / STATE).exists():
            run.load()
        with _writer(folder, tensorboard and place.first, run.step) as writer:
            run.go(writer, progress and place.first, on_step)
    return folder / WEIGHTS


class _Run:
    """One process's part of a training."""

    def __init__(self, task: Task, settings: Settings, folder: Path, place: Distributed) -> None:
        self.task, self.settings, self.folder, self.place = task, settings, folder, place
        self.step = 0
        layout = torch.channels_last if settings.channels_last else torch.preserve_format
        task.network.to(place.device, memory_format=layout).train()
        learned = [p for p in task.network.parameters() if p.requires_grad]
        self.optimiser = (
            torch.optim.Adam(learned, lr=settings.learning_rate, betas=tuple(settings.betas))
            if settings.optimiser == "adam"
            else torch.optim.SGD(learned, lr=settings.learning_rate, momentum=settings.momentum)
        )
        self.network = place.wrap(task.network)
        # Only float16 underflows; for the others the scaler does nothing.
        self.scaler = torch.amp.GradScaler(
            place.device.type, enabled=settings.precision == "float16"
        )

    def go(self, writer: Any, progress: bool, on_step: Callable | None) -> None:
        settings = self.settings
        todo = range(self.step, settings.steps)
        log = _Log(self.folder / LOG, self.step) if self.place.first else None
        with tqdm(
            total=settings.steps, initial=self.step, unit="step", disable=not progress
        ) as bar:
            for step, samples in zip(todo, self._data(todo), strict=True):
                losses = self._one(step, samples)
                self.step = step + 1
                bar.update()
                if log and (self.step % settings.log_every == 0 or self.step == settings.steps):
                    log.row(self.step, settings.rate(step), losses)
                    bar.set_postfix(losses)
                    if writer:
                        for name, value in {**losses, "rate": settings.rate(step)}.items():
                            writer.add_scalar(name, value, self.step)
                if writer and self.step % settings.picture_every == 0:
                    self._show(writer)
                if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                    self.save()
                if on_step:
                    on_step(self.step, losses)

    def _one(self, step: int, samples: Any) -> dict[str, float]:
        """One step of the optimiser; the losses before it, over all processes."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        network = computing_in(self.network, self.settings.precision, self.place.device)
        terms = self.task.losses(network, samples, step, self.place.device)
        total = sum(terms.values())
        losses = self.place.mean(
            {"loss": total.detach(), **{k: v.detach() for k, v in terms.items()}}
        )
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(
                f"train: the loss must be finite, got {losses['loss']} in step {step + 1};"
                " a smaller learning rate, or a limit on the gradient, may help"
            )
        self.scaler.scale(total).backward()
        if self.settings.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.optimiser.param_groups[0]["params"], self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return losses

    def _data(self, steps: range) -> Iterator[Any]:
        loader = torch.utils.data.DataLoader(
            _Batches(self.task, self.settings.batch_size, self.place.part),
            batch_size=None,
            sampler=steps,
            num_workers=self.settings.workers,
            # Its own generator: the loader would draw from the global one at every start.
            generator=torch.Generator().manual_seed(self.settings.seed),
        )
        return iter(loader)

    def _show(self, writer: Any) -> None:
        self.task.network.eval()
        with torch.no_grad():
            shown = self.task.pictures(self.task.network, self.step, self.place.device)
        self.task.network.train()
        for name, picture in shown.items():
            writer.add_image(name, picture.clamp(0, 1).cpu(), self.step)

    def save(self) -> None:
        """The checkpoint and the weights for use. All processes have the same; one writes."""
        generators = self.place.gather_generators()
        if self.place.first:
            record = {
                "step": self.step,
                "settings": asdict(self.settings),
                "task": dict(self.task.record),
            }
            save_state(
                self.folder / STATE, self.task, self.optimiser, self.scaler, generators, record
            )
            self.task.export(self.folder / WEIGHTS, **record)
        self.place.wait()

    def load(self) -> None:
        """Goes back to the checkpoint; raises if it is of another training."""
        path = self.folder / STATE
        found = checkpoints.load(path, model=f"training of {self.task.name}")
        before, now = found.extra or {}, json.loads(json.dumps(asdict(self.settings)))
        for name, value in now.items():
            if name == "steps" and self.settings.decay != "cosine":
                continue
            if name not in _FREE:
                # A state that was written before there was a choice has none.
                earlier = _FIRST.get(name)
                self._same(name, value, before.get("settings", {}).get(name, earlier))
        for name, value in json.loads(json.dumps(dict(self.task.record))).items():
            self._same(name, value, before.get("task", {}).get(name))
        load_state(found, path, self.task, self.optimiser, self.scaler, self.place)
        self.step = found.extra["step"]

    def _same(self, name: str, value: Any, before: Any) -> None:
        if value != before:
            raise ValueError(
                f"train: {name} must be that of the training in '{self.folder}', {before!r},"
                f" got {value!r}"
            )


class _Batches(torch.utils.data.Dataset):
    """What makes up each step's batch, or one process's part of it."""

    def __init__(self, task: Task, size: int, part: slice) -> None:
        self.task, self.size, self.part = task, size, part

    def __getitem__(self, step: int) -> Any:
        return self.task.samples(step * self.size, (step + 1) * self.size, self.part)


class _Log:
    """A table of losses that survives what its run does not.

    Rows beyond the checkpoint that a run goes on from are dropped: they will come again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        rows: list[dict[str, Any]] = []
        if step and path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        text = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(text, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        with replacing(path) as file:
            file.write(text.getvalue().encode())

    def row(self, step: int, rate: float, losses: Mapping[str, float]) -> None:
        numbers = {name: f"{value:.6g}" for name, value in {"rate": rate, **losses}.items()}
        self._write({"step": step, **numbers})

    def _write(self, row: Mapping[str, Any]) -> None:
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)


@contextlib.contextmanager
def _writer(folder: Path, wanted: bool, step: int) -> Iterator[Any]:
    if not wanted:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            f"train: tensorboard must be installed (pip install 'blurops[train]'), got {error}"
        ) from error
    # What a killed run has shown beyond its checkpoint is hidden.
    writer = SummaryWriter(folder / EVENTS, purge_step=step + 1 if step else None)
    try:
        yield writer
    finally:
        writer.close()
