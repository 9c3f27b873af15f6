"""The command. One file a command; nothing heavy is imported until one is run."""

import os
import sys
from collections.abc import Callable
from typing import Protocol

import tyro

from holdfast.cli.check import Check
from holdfast.cli.chip import Chip
from holdfast.cli.claim import Claim
from holdfast.cli.compile import Compile
from holdfast.cli.demo import Demo
from holdfast.cli.doctor import Doctor
from holdfast.cli.encrypt import Encrypt
from holdfast.cli.extend import Extend
from holdfast.cli.ls import Ls
from holdfast.cli.new import New
from holdfast.cli.report import Report
from holdfast.cli.run import Audit, Run
from holdfast.cli.show import Show
from holdfast.errors import HoldfastError, UsageError, printable


class Command(Protocol):
    """What tyro fills in from the command line."""

    def run(self) -> int:
        """Do it; the exit status."""


COMMANDS: dict[str, Callable[..., Command]] = {
    "demo": Demo,
    "new": New,
    "audit": Audit,
    "claim": Claim,
    "run": Run,
    "extend": Extend,
    "check": Check,
    "compile": Compile,
    "encrypt": Encrypt,
    "chip": Chip,
    "ls": Ls,
    "show": Show,
    "report": Report,
    "doctor": Doctor,
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Exit status: 0 done, whatever the verdict; 1 failed; 2 wrong use."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(parse(arguments).run())
    except UsageError as error:
        _say(error)
        sys.exit(2)
    except HoldfastError as error:
        _say(error)
        sys.exit(1)
    except KeyboardInterrupt:
        _say("Stopped. What was measured is kept: the same command goes on from here.")
        sys.exit(1)
    except BrokenPipeError:
        # The reader has gone (`holdfast ls | head`). Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _say(
            f"{error.filename or 'A file'}: {error.strerror or error}. Free some space or mend the permissions, and "
            f"run again. What was measured is kept."
        )
        sys.exit(1)
    except Exception as error:
        if os.environ.get("HOLDFAST_TRACEBACK"):
            raise
        _say(
            f"Unexpected {type(error).__name__}: {error}. What was measured is kept. HOLDFAST_TRACEBACK=1 shows where."
        )
        sys.exit(1)


def parse(arguments: list[str]) -> Command:
    """The command that the arguments ask for.

    Raises:
        UsageError: an unknown command; the nearest one is named. (Unknown flags end in tyro's own message, status 2.)
    """
    word = next((a for a in arguments if not a.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        from holdfast.errors import nearest

        raise nearest(word, COMMANDS, what="command")
    chosen: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=arguments or ["--help"],
        prog="holdfast",
        description="Plant a computation in a network, train the network, and see whether it held.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return chosen


def _say(what: object) -> None:
    print(f"holdfast: {printable(str(what))}", file=sys.stderr)
