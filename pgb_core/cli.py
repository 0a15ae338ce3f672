"""The command `pgb`: it parses arguments and says what went wrong. The commands are in `pgb_core.commands`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from pgb_core import __version__, machine
from pgb_core.checkpoints.architectures import titles
from pgb_core.commands import COMMANDS, serve
from pgb_core.commands.flags import Parser
from pgb_core.data.words import plain
from pgb_core.errors import PGBError, out_of_memory

_EXAMPLES = """examples:
  pgb compress ./my-bert --task classification --train train.tsv --eval dev.tsv --out ./small
  pgb compress ./my-bert-qa --task qa --calibrate questions.json --keep 0.25 --out ./small-qa   # no labels needed
  pgb compare ./my-bert --train train.tsv --eval dev.tsv --out ./compared --quick   # compare methods and sizes
  pgb evaluate ./small --data dev.tsv
  pgb bench ./small --against ./my-bert
  pgb serve ./small ./small-qa
  pgb plan-capacity ./small --rate 2000 --lengths 32 --p99 50
"""
_CONTINUED = ("compress", "compare")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns 0 on success, 1 on a PGBError, 141 when nobody reads on, 128 and its number when a signal stops it (Ctrl-C:
    130); wrong usage exits with 2.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["serve"] and not {"-h", "--help"} & set(given):
        serve.serve(given[1:])  # the service knows its settings
        return 0
    if given[:1] == ["plan-capacity"]:
        serve.become("service.planning", given[1:])
        return 0
    parser = _parser()
    args, unknown = parser.parse_known_args(given)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; see pgb {args.command} --help")
    if argv is None:  # the process is ours, and torch is not imported yet
        _set_up(getattr(args, "threads", None))
    return _ran(args)


def _set_up(threads: int | None) -> None:
    """Set up a process that runs one command, with so many threads where they are given."""
    machine.wait_passively()
    _tidy_up_when_stopped()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name of a file may be beyond what a terminal writes
    # The tokenizers have threads of their own.
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads or machine.usable_cores()))


def _ran(args: argparse.Namespace) -> int:
    """Run the command; the exit status, once it was said what went wrong."""
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
        return status
    except PGBError as error:
        shown = "\n".join(plain(line) for line in str(error).split("\n"))  # a file's name may hold anything
        print(f"pgb {args.command}: {shown}", file=sys.stderr)
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, _Stopped) else signal.SIGINT
        signal.signal(number, signal.SIG_IGN)  # once is enough
        anew = " without --no-resume" if getattr(args, "resume", None) is False else ""
        kept = f"; run the same command again{anew} to continue from the stages that are finished"
        print(f"pgb {args.command}: stopped{kept if args.command in _CONTINUED else ''}", file=sys.stderr)
        return 128 + number
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        less = "try smaller --samples or --tokens" if args.command == "compress" else "end other programs"
        print(f"pgb {args.command}: not enough memory; {less}, or use a machine with more", file=sys.stderr)
    except BrokenPipeError:  # `| head` has what it wants; what is still to be written at the end has no reader either
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell says of a program that SIGPIPE ends
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print(f"pgb {args.command}: {error.strerror or error}{place}", file=sys.stderr)
    except ImportError as error:
        print(f"pgb {args.command}: {error}; pip install '.[compress]' in a clone of pgb-serve", file=sys.stderr)
    return 1


class _Stopped(KeyboardInterrupt):
    """Another signal than Ctrl-C's, which stops a command in the same way."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _tidy_up_when_stopped() -> None:
    """Let the signals of a job's system end a command as Ctrl-C does, so that it leaves no scratch folders behind.

    By default they end the process at once, and as the first process of a container not at all. A second one ends it
    at once. What is ignored, as under nohup, stays so.
    """

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Stopped(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="pgb",
        description=f"Shrink a fine-tuned {titles()}, check it against the original, and serve it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pgb-serve {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        p = commands.add_parser(
            name, help=command.help, epilog=command.epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add(p)
        p.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
