"""Training runs: one folder holds a run's configuration, a table of its epochs and the checkpoints to resume from.

Both packages train through this module. They differ in the Lightning module, in the data, and in the model they write.
"""

from __future__ import annotations

import logging
import re
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import lightning
import pandas as pd
import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from swinface.files import InputError, one_line, replacing, working_alone
from swinface.mistakes import find_mistake
from swinface.registry import digest_own
from swinface.settings import (
    SECTIONS,
    accept_dashes,
    join_configurations,
    lay_over,
    list_configurations,
    parse_yaml,
    parser_options,
    read_options,
    read_settings,
    reading_configurations,
    show_dashes,
)
from swinface.training.history import CONFIG, FREE, METRICS, MODEL, flatten, is_free
from swinface.training.loggers import LoggerName, make_logger

LAST = "last"  # the checkpoint of the last epoch
Finished = TypeVar("Finished")

IGNORED_WARNINGS = [
    ".*does not have many workers.*",  # faces that are already decoded need none
    ".*in eval mode at the start of training.*",  # a frozen trunk is
    ".*args parameter is intended to run from within Python.*",  # we do so
    ".*Checkpoint directory .* exists and is not empty.*",  # as it should be when a run is resumed
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # raised by the engine's own code
    ".*nn.functional.all_gather is deprecated.*",  # likewise
    ".*resuming from a checkpoint that ended before the epoch ended.*",  # our sampler goes on at the run's next batch
    ".*smaller than the logging interval.*",  # losses are logged by epoch
    ".*Total length of `list` across ranks is zero.*",  # without validation data
]

# Weights are in single precision, and layers compute in it or, by autocast, in half of it. In weights of half precision
# small steps are lost, and an erasure would let through a little of what it removes.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

ENGINE_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # in a checkpoint, of the engine's own

# An epoch ends with the validation of all its data, by which the best one is chosen.
EPOCH = {"check_val_every_n_epoch": 1, "limit_val_batches": 1.0, "val_check_interval": 1.0}
POSITIVE = ("max_epochs", "limit_train_batches", "accumulate_grad_batches")

# Options of a run that are of no section, and their types; that of the seed is the engine's.
RUN_OPTIONS = {"seed_everything": bool | int, "checkpoint_steps": PositiveInt | None, "logger": LoggerName | None}
ABOUT = {
    "checkpoint_steps": "Steps between checkpoints within an epoch.",
    "logger": "Logger that writes to the run's folder; for others, or options, use trainer.logger.",
}

TRAINER = {
    "logger": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # our samplers divide the batches among the processes themselves
    "deterministic": "warn",
}


class RunFolder(Callback):
    """Writes ``config.yaml`` when training begins, and a row of ``metrics.csv`` after each epoch.

    The rows are part of the checkpoint, so a resumed run continues its table. So is a digest of each module of the
    user: a run is not resumed with another.
    """

    def __init__(self, run: Path, config: str) -> None:
        self.run, self.config, self.rows, self.own = run, config, [], digest_own(config)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            with replacing(self.run / CONFIG) as partial:
                partial.write_text(self.config, encoding="utf-8")

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch, **metrics, **module.describe_epoch()})
        if trainer.is_global_zero:
            with replacing(self.run / METRICS) as partial:
                pd.DataFrame(self.rows).to_csv(partial, index=False)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tell the engine's callbacks where the folder is now: in one that was moved they would forget the best epoch,
        and any later one would take its place."""

        def move(path: str) -> str:
            return str(Path(here, Path(path).name)) if path else path

        for callback in trainer.checkpoint_callbacks:
            state, here = checkpoint["callbacks"].get(callback.state_key), callback.dirpath
            if state and Path(here) == self.run.resolve() != Path(state["dirpath"]):
                paths = {name: move(state[name]) for name in ENGINE_PATHS}
                kept = {move(path): score for path, score in state["best_k_models"].items()}
                state.update(paths, dirpath=here, best_k_models=kept)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "own": self.own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise ``InputError`` if the run began with another version of a user's module."""
        self.rows = state["rows"]
        for name, digest in state.get("own", {}).items():
            if self.own.get(name, digest) != digest:
                raise InputError(
                    f"{self.run}: your module {name!r} has changed since the run began; restore it, or start a new run "
                    "in another folder."
                )


class StepCheckpoints(Callback):
    """Writes the checkpoint to resume from every ``steps`` steps.

    Unlike the engine's ``ModelCheckpoint`` it has no state, so that a resumed run may have another interval or none.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps, self.written = path, steps, 0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step % self.steps == 0 and trainer.global_step != self.written:
            trainer.save_checkpoint(self.path, weights_only=False)  # with all that is needed to go on
            self.written = trainer.global_step


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint to a partial file in its own folder and renames it.

    The engine writes checkpoints to the system's temporary folder, where a killed process leaves them. If that is on
    another disk, the engine copies them from there, and a killed process leaves an incomplete checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with replacing(path) as partial, partial.open("wb") as file:  # by itself torch does not say that a disk is full
            torch.save(checkpoint, file)


class RunCLI(LightningCLI):
    """The options of a ``fit`` command: those of the run, the model and the data, then those of the engine."""

    program: str  #: name of the command
    about: str  #: what it does, for its help
    module: type[lightning.LightningModule]
    data: type[lightning.LightningDataModule]
    defaults: ClassVar[dict[str, Any]]  #: of the engine, besides ``TRAINER``

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        """A parser whose help has dashes in the names of options."""
        return show_dashes(super().init_parser(**options))

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the options; of one that is not known, name the one that is most like it."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            unknown = re.search(r"unrecognized arguments: (--[\w.]+)", str(error))
            near = get_close_matches(unknown[1], parser._option_string_actions, 1, 0.8) if unknown else []
            if near:
                raise InputError(f"no option {unknown[1]}; did you mean {near[0]}?") from None
            raise

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the project's options first, so that the help lists them before the many options of the engine."""
        parser.add_argument("--run", type=Path, required=True, help="Folder of the run; an interrupted run is resumed.")
        for name, about in ABOUT.items():
            parser.add_argument(f"--{name}", type=RUN_OPTIONS[name], help=about)
        parser.add_lightning_class_args(self.model_class, "model")
        parser.add_lightning_class_args(self.datamodule_class, "data")
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("run", "trainer.default_root_dir", compute_fn=str)
        parser.link_arguments("seed_everything", "data.seed")

    def before_instantiate_classes(self) -> None:
        """Refuse null where the model or the data need a value, which the parser lets pass."""
        for section, cls in (("model", self.model_class), ("data", self.datamodule_class)):
            mistake = find_mistake(cls, self.config[section].as_dict(), section, "nulls")
            if mistake:
                raise InputError(f"{mistake}.")

    def instantiate_trainer(self, **options: Any) -> lightning.Trainer:
        """A trainer that writes the run's folder, with the callbacks of the configuration."""
        _check_trainer(self.config["trainer"])
        run, given = Path(self.config["run"]), self.config_init["trainer"].get("callbacks") or []
        callbacks = [
            *(given if isinstance(given, list) else [given]),
            RunFolder(run, self.parser.dump(self.config, skip_link_targets=True)),
            *self.checkpoints(run),
            ModelCheckpoint(run, LAST, enable_version_counter=False),
        ]
        if self.config["checkpoint_steps"] is not None:
            callbacks.append(StepCheckpoints(run / f"{LAST}.ckpt", self.config["checkpoint_steps"]))
        if self.config["logger"] is not None:
            if self.config["trainer"]["logger"]:
                raise InputError("--logger and trainer.logger: give only one of them.")
            options["logger"] = make_logger(self.config["logger"], run)
        trainer = super().instantiate_trainer(callbacks=callbacks, **options)
        trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer

    def checkpoints(self, run: Path) -> list[ModelCheckpoint]:
        """Checkpoints that the run keeps besides that of its last epoch."""
        return []


def _check_trainer(options: Namespace) -> None:
    """Refuse options of the engine that a run cannot have."""
    if options["fast_dev_run"]:
        raise InputError("trainer.fast_dev_run writes no model; for a quick test add configs/smoke.yaml.")
    if options["max_epochs"] in (None, -1) or options["max_steps"] != -1:
        # The engine resumes a run that ended at max_steps as if it had stopped in the middle of an epoch.
        raise InputError(
            "give the length of a run as trainer.max_epochs, not as max_steps; the data define the length of an epoch."
        )
    precision = options["precision"]
    if precision is not None and str(precision) not in {name for it in PRECISIONS for name in (it, it.split("-")[0])}:
        raise InputError(f"trainer.precision {precision}: choose from {', '.join(PRECISIONS)}.")
    for name, needed in EPOCH.items():
        if str(options[name]) not in ("None", str(needed)):  # 1 is one batch, 1.0 is all
            raise InputError(f"trainer.{name} {options[name]}: each epoch ends with a full validation; leave it out.")
    for name in POSITIVE:
        if options[name] is not None and not options[name] > 0:
            raise InputError(f"trainer.{name} {options[name]}: nothing would be learned; give a number above 0.")


def configure(
    cli_class: type[RunCLI],
    arguments: list[str] | dict[str, Any],
    files: Sequence[Path] = (),
    changes: dict[str, Any] | None = None,
) -> RunCLI:
    """Make the trainer, the module and the data of a run.

    ``arguments`` are options as on a command line, and ``changes`` a configuration that is laid over those which they
    name; or ``arguments`` are a configuration, which was merged from ``files``. Raises ``InputError`` if an input is
    bad.
    """
    for talkative in ("pytorch.utilities.rank_zero", "fabric.utilities.seed"):
        logging.getLogger(f"lightning.{talkative}").setLevel(logging.WARNING)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    arguments = arguments if isinstance(arguments, dict) else accept_dashes(arguments)
    named = files or list_configurations(arguments)
    with reading_configurations(arguments), _naming_mistakes(arguments, named, changes or {}, cli_class):
        joined = arguments if isinstance(arguments, dict) else join_configurations(arguments, changes or {})
        try:
            return cli_class(
                cli_class.module,
                cli_class.data,
                args=joined,
                run=False,
                seed_everything_default=0,
                trainer_defaults=TRAINER | cli_class.defaults,
                save_config_callback=None,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={
                    "prog": cli_class.program,
                    # All options would fill a page.
                    "usage": f"{cli_class.program} --config FILE [--config FILE ...] --run FOLDER [options]",
                    "description": cli_class.about,
                    **parser_options(),
                },
            )
        except ArgumentError as error:
            if 'key "run"' in str(error):  # which the parser calls a wrong path where it is not there
                raise InputError("--run is missing: name the folder to train in.") from None
            raise


@contextmanager
def _naming_mistakes(
    arguments: Iterable[str], files: Sequence[Path], changes: dict[str, Any], cli_class: type[RunCLI]
) -> Iterator[None]:
    """Name the file that a mistake is in, say in a sentence what the parser says of lists and mappings, and refuse keys
    that it passes over: those that nothing has, with nothing below them."""
    own = isinstance(arguments, dict)
    options = {} if own else read_options(arguments)
    named = [*((f"{file}: ", read_settings(file)) for file in files), ("", changes), ("", options)]
    for where, given in [("", arguments), ("", changes)] if own else named:
        keys = [*SECTIONS, *RUN_OPTIONS, "run"]
        unknown = [key for key in lay_over({}, given) if key not in keys]
        if unknown and given is not options:  # of which the parser tells all
            raise InputError(f"{where}no key {unknown[0]!r}; the keys are {', '.join(keys)}.")
        if mistake := _find_mistake(given, cli_class, "keys"):
            raise InputError(f"{where}{mistake}.")
    try:
        yield
    except InputError as error:
        section, option = re.match(r"(\w*)\.?(\w*)", str(error)).groups()
        given = any(argument.startswith(f"--{section}.{option}") for argument in arguments)  # which has the last word
        given = given or option in _get_section(changes, section)
        stated = [] if given else [file for file in files if option in _get_section(read_settings(file), section)]
        if stated:
            raise InputError(f"{stated[-1]}: {error}") from error
        raise
    except ArgumentError:
        for where, given in named:
            if mistake := _find_mistake(given, cli_class):
                raise InputError(f"{where}{mistake}.") from None
        raise


def _find_mistake(settings: dict[str, Any], cli_class: type[RunCLI], only: str = "") -> str | None:
    sections = {"model": cli_class.module, "data": cli_class.data, "trainer": lightning.Trainer}
    of_sections = [(cls, _get_section(settings, name), name) for name, cls in sections.items()]
    others = [(hint, settings[name], name) for name, hint in RUN_OPTIONS.items() if name in settings]
    return next(filter(None, (find_mistake(*it, only) for it in [*of_sections, *others])), None)


def _get_section(settings: dict[str, Any], section: str) -> dict[str, Any]:
    options = lay_over({}, settings).get(section)
    return options if isinstance(options, dict) else {}


def run_training(cli: RunCLI, finish: Callable[[Path, RunCLI], Finished]) -> Finished | None:
    """Train, from the last checkpoint if the run's folder holds one.

    When training is done, ``finish`` is called with the run's folder in the first process of the run, to write the
    model. Gives what it returns; None in the other processes. Raises ``InputError`` if another process trains in the
    folder, it holds another experiment or one that is complete, or an input is bad.
    """
    run, config = Path(cli.config["run"]), cli.parser.dump(cli.config, skip_link_targets=True)
    with working_alone(run) if cli.trainer.is_global_zero else nullcontext():
        last = _find_last(run, config)
        try:
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=last, weights_only=True)
        except MisconfigurationException as error:
            raise InputError(f"trainer: {one_line(error)}") from error
        except SystemExit:  # the engine raises it when interrupted
            raise KeyboardInterrupt("the same command resumes from the last checkpoint") from None
        finally:
            leave_processes()
        return finish(run, cli) if cli.trainer.is_global_zero else None


def leave_processes() -> None:
    """End the communication of a run's processes; threads that still wait can abort a process at its exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _find_last(run: Path, config: str) -> Path | None:
    """The checkpoint of an interrupted run of the same configuration, or None."""
    recorded, last = run / CONFIG, run / f"{LAST}.ckpt"
    if (run / MODEL).exists():
        raise InputError(f"{run}: this run is complete; choose another folder, or delete this one.")
    if not last.exists():
        return None
    if not recorded.exists():
        raise InputError(f"{run}: holds a checkpoint without {CONFIG}; choose another folder, or delete this one.")
    before, now = map(flatten, (read_settings(recorded), parse_yaml(config)))
    changed = [key for key in {**before, **now} if not is_free(key) and before.get(key) != now.get(key)]
    if changed:
        raise InputError(
            f"{run}: holds an unfinished run of another configuration: {changed[0]} was {before.get(changed[0])}, not "
            f"{now.get(changed[0])}. Restore it (data that moved can be linked from the old path), or choose another "
            f"folder. A resumed run may change only {', '.join(FREE)}."
        )
    return last
