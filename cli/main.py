"""The `dgaug` command: its sub-commands, and how every one of them ends."""

from __future__ import annotations

import errno
import logging
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
    swap,
    synthesize,
    train,
    train_reid,
    verify,
)
from dgaug_cli.console import speak_as
from dgaug_cli.group import Group
from dgaug_cli.memory import ran_out
from dgaug_cli.quiet import with_quiet
from dgaug_cli.remedies import with_remedies
from dgaug_cli.streams import UNREAD, ReaderGone, watch_streams

from dgaug.errors import DgaugError, Interrupted
from dgaug.interrupts import Stopped, stopping_at_once
from dgaug.launched import launched, world_size
from dgaug.memory import keep_freed_memory
from dgaug.visible import visible

WRONG = 2
LONGEST_LINE = 1500
"""Signs of an error; the rest of a name that goes on and on is left out of its middle."""
SMALLER = (
    "free some, or make less at a time: smaller *.batch_size in schedule, teacher and reid with as much more "
    "*.accumulation gives the same batches, smaller data.height and data.width other pictures"
)
SHARED = ("train", "synthesize")
"""Commands that several processes can work on together."""


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgaug")
@click.pass_context
def cli(context: click.Context) -> None:
    """From N labelled pictures of identities make N x N, measure them, and see whether re-id gets better.

    \b
    The main job, with no data of your own (or: dgaug demo):
        dgaug train
        dgaug synthesize --pairs all
        dgaug score-fid
        dgaug train-reid
    and with your own:
        dgaug train --data ../Market-1501 --config market1501
    """
    if context.invoked_subcommand not in SHARED and world_size() > 1:
        raise click.UsageError(
            f"dgaug {context.invoked_subcommand} runs in one process; start it without torchrun, or unset WORLD_SIZE, "
            f"which says that this is one of {world_size()}"
        )
    speak_as(launched().rank)


for command in (
    demo.command,
    data.command,
    train.command,
    synthesize.command,
    score_fid.command,
    train_reid.command,
    eval_reid.command,
    ablate.command,
    verify.command,
    export.command,
    grid.command,
    swap.command,
    interpolate.command,
    report.command,
    import_.command,
    config.command,
    doctor.command,
    completion.command,
):
    cli.add_command(with_quiet(with_remedies(command)))


def main() -> None:
    """Run a command; bad input is one line and exit code 2, a signal is 128 + its number."""
    sys.exit(_ended())


def _prepare() -> None:
    keep_freed_memory()
    # What is wrong with a picture is said in one line by whoever reads it.
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
        wanted = ran_out(error)
        if wanted is None:
            raise
        _say(f"error: not enough memory {wanted}; {SMALLER}")
    return WRONG


def _rank() -> int:
    try:
        return launched().rank
    except DgaugError:
        return 0


def _say(text: str) -> None:
    rank = f"process {_rank()}: " if _rank() else ""
    line = visible(" ".join(text.split()))
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE - 300]} ... {line[-300:]}"
    print(rank + line, file=sys.stderr)
