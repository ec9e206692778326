"""The command line: finds the command, runs it, turns errors into one line and an exit code.

Nothing heavy is imported here, so that `likewise --help` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper

from likewise.errors import LikewiseError, TrainingError
from likewise.messages import closest, first_line

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "train a small model on generated scenes, measure it, write a report, answer a query (minutes)",
    "methods": "list the ways of training: what each learns from, and its paper",
    "data": "show what is understood of a data source: counts, columns, examples, duplicates, bad records",
    "train": "train a method on a data source",
    "evaluate": "measure a trained model on a data source",
    "explain": "show where each word of a text looks in a picture (models of tcl)",
    "caption": "write captions of images",
    "embed": "write the embeddings of pictures or texts to a file",
    "report": "write a run's report: one HTML file with curves, figures and pictures",
}

_USAGE = """usage: likewise COMMAND [options]

Learn what belongs together, from your own data: train, measure, use.

commands:
{commands}

options:
  -h, --help     this text; likewise COMMAND --help for a command's options
  --version      the version
  --debug        show the whole trace of an error (anywhere on the line)

start with:
  likewise demo
  likewise data path/to/captions.csv
  likewise train clip --data path/to/captions.csv --out runs/first
"""

_FEWER_ROWS = "--device cpu where it was a GPU's, or fewer rows (--data SOURCE --data.max-records 1000)"
_LESS_MEMORY = {
    "train": "a smaller --training.batch-size, --training.micro-batch-size (the same batch in pieces; not "
    "with tcl), "
    "smaller pictures or a smaller network",
    "evaluate": _FEWER_ROWS,
    "embed": _FEWER_ROWS,
    "explain": "--device cpu where it was a GPU's",
    "report": "--device cpu where it was a GPU's",
    "data": "fewer records (--data.max-records 1000)",
}
"""What takes less memory, for the commands that have such an option."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 2 a wrong option; 3 the data; 4 the model; 5 training; 75 stopped on request,
    resumable.
    """
    _set_up_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        lines = (f"  {name:<10} {line}" for name, line in COMMANDS.items())
        print(_USAGE.format(commands="\n".join(lines)), end="")
        sys.exit(0)
    if words[0] == "--version":
        from likewise import __version__

        print(f"likewise {__version__}")
        sys.exit(0)
    if words[0] not in COMMANDS:
        sys.exit(_unknown(words[0]))
    try:
        import_module(f"likewise.cli.{words[0]}_command").run(words[1:])
    except LikewiseError as error:
        if debug:
            raise
        print(f"likewise {words[0]}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"likewise {words[0]}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) has closed it
        sys.stderr.close()
        sys.exit(141)
    except (MemoryError, RuntimeError) as error:
        if debug or not _out_of_memory(error):
            raise
        hint = f"; try {_LESS_MEMORY[words[0]]}" if words[0] in _LESS_MEMORY else ""
        print(f"likewise {words[0]}: out of memory ({first_line(error)}){hint}.", file=sys.stderr)
        sys.exit(TrainingError.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written
        if debug:
            raise
        print(f"likewise {words[0]}: {error}", file=sys.stderr)
        sys.exit(1)


def _out_of_memory(error: Exception) -> bool:
    """Whether it says so: Python, torch of a GPU, or torch of the processor, which has no class for it."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _set_up_streams() -> None:
    """A terminal that is not UTF-8 shows question marks for signs it has not, instead of an error.

    Errors go out by whole lines also where Python is told not to buffer (``PYTHONUNBUFFERED``, which
    containers often set): there `print` writes a line and its end apart, and two replicas that speak at
    once would mix theirs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(line_buffering=True, write_through=False)


def _unknown(word: str) -> int:
    hint = closest(word, COMMANDS) or "likewise --help lists them."
    print(f"likewise: no command is called {word!r}; {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
