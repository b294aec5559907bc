"""The `dgaug` command: its sub-commands, and how every one of them ends."""

from __future__ import annotations

import errno
import logging
import re
import signal
import sys
import warnings

import click
from dgaug_cli import (
    ablate,
    completion,
    config,
    data,
    demo,
    doctor,
    eval_reid,
    export,
    grid,
    import_,
    interpolate,
    report,
    score_fid,
    study,
    swap,
    synthesize,
    train,
    train_reid,
    verify,
)
from dgaug_cli.console import speak_as
from dgaug_cli.options import Group, with_quiet
from dgaug_cli.remedies import with_remedies
from dgaug_cli.streams import UNREAD, ReaderGone, watch_streams

from dgaug.errors import DgaugError, Interrupted
from dgaug.interrupts import Stopped, stopping_at_once
from dgaug.launched import launched, world_size
from dgaug.memory import keep_freed_memory
from dgaug.visible import visible

WRONG = 2
LONGEST_LINE = 1500
"""Characters of an error line; the middle of a longer one is left out."""
LESS_MEMORY = (
    "free memory, or lower *.batch_size of schedule, teacher and reid and raise *.accumulation by the same factor "
    "(the same batches), or lower data.height and data.width (smaller images)"
)
DISTRIBUTED = ("train", "synthesize", "study")
"""Commands that several processes of torchrun can work on together."""
COMMANDS = {
    "Main job": (demo, train, synthesize, score_fid, train_reid),
    "Look and measure": (grid, swap, interpolate, report, eval_reid, ablate, study, verify),
    "Data and exchange": (data, export, import_),
    "Help": (config, doctor, completion),
}
"""The modules of the commands, by the section of `dgaug --help` that lists them."""


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgaug")
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn N labelled images into N x N, measure them, and test whether they improve re-id.

    \b
    The main job on embedded data (dgaug demo runs all of it):
        dgaug train
        dgaug synthesize --pairs all
        dgaug score-fid
        dgaug train-reid

    \b
    On your own data, start with:
        dgaug train --data ../Market-1501 --config market1501
    """
    if context.invoked_subcommand not in DISTRIBUTED and world_size() > 1:
        raise click.UsageError(
            f"dgaug {context.invoked_subcommand} runs in one process, but the world size is {world_size()}; "
            "start it without torchrun, or unset WORLD_SIZE"
        )
    speak_as(launched().rank)


for title, modules in COMMANDS.items():
    cli.add_section(title, *(with_quiet(with_remedies(module.command)) for module in modules))


def main() -> None:
    """Run a command; bad input is one line and exit code 2, a signal is 128 + its number."""
    sys.exit(_ended())


def _prepare() -> None:
    keep_freed_memory()
    # A damaged image is reported in one line by the code that reads it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    watch_streams()


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _ended() -> int:
    try:
        with stopping_at_once():
            _prepare()
            code = cli.main(prog_name="dgaug", standalone_mode=False)
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except Interrupted as stopped:
        _say(str(stopped))
        return 128 + stopped.signal_number
    except Stopped as stopped:
        _say(f"interrupted by signal {stopped.signal_number}; run the same command again")
        return 128 + stopped.signal_number
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 128 + signal.SIGINT
    except click.ClickException as error:
        _say(f"error: {error.format_message()}")
    except DgaugError as error:
        _say(f"error: {error}")
    except ReaderGone:
        return UNREAD
    except OSError as error:
        full = " (free some space, then run the same command again)" if error.errno in _FULL else ""
        _say(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": ") + full)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        size = re.search(r"allocate (\d[\d.]* ?\w+)", str(error))
        needed = f" for {size[1]}" if size else ""
        _say(f"error: not enough memory{needed}; {LESS_MEMORY}")
    return WRONG


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    # PyTorch reports it on a CPU only in the text, on an accelerator by a type that would need its import.
    texts = ("can't allocate memory", "std::bad_alloc", "can't start new thread")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error) for text in texts)
    )


def _rank() -> int:
    try:
        return launched().rank
    except DgaugError:
        return 0


def _say(text: str) -> None:
    rank = f"rank {_rank()}: " if _rank() else ""
    line = visible(" ".join(text.split()))
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE - 300]} ... {line[-300:]}"
    print(rank + line, file=sys.stderr)
