"""The command line: finds the command, runs it, turns errors into one line and an exit code.

Heavy imports stay in the commands, so that `likewise --help` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from io import TextIOWrapper

from likewise.errors import ConfigError, LikewiseError, TooManyBadRecords, TrainingError
from likewise.messages import closest, first_line, printed_line

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "train a small model on generated scenes, evaluate it, write a report, search them (minutes)",
    "methods": "list the training methods: what each learns from, and its paper",
    "data": "show how a data source is understood: counts, columns, examples, duplicates, bad records",
    "train": "train a method on a data source",
    "evaluate": "evaluate a trained model on a data source",
    "explain": "show the image regions behind a match with a text, a similarity or a caption",
    "caption": "write captions of images",
    "classify": "name the classes of images, by a classifier, names, neighbours or a probe",
    "entail": "judge statements about images: true or false; entailed, neutral or contradicted",
    "compare": "judge statements about two images",
    "ground": "find the region of an image that a phrase names",
    "answer": "answer questions about images (models of vqa)",
    "embed": "write the embeddings of images or texts to a file",
    "index": "embed images into an index that can be searched, and keep it up to date",
    "search": "search an index by words, images, or both",
    "duplicates": "find images of an index that are the same, or nearly",
    "serve": "serve a trained model, and an index, over HTTP, with a page for the browser",
    "export": "write a trained model in another library's format",
    "report": "write a run's report: one HTML file with curves, figures and images",
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
    "with tcl), smaller images or a smaller network",
    "evaluate": _FEWER_ROWS,
    "caption": "a smaller --batch-size or fewer --num-beams",
    "classify": "a smaller --batch-size",
    "entail": "a smaller --batch-size",
    "compare": "a smaller --batch-size",
    "ground": "a smaller --batch-size",
    "answer": "a smaller --batch-size, or fewer --answers",
    "embed": _FEWER_ROWS,
    "index": "a smaller --batch-size",
    "search": "--device cpu where it was a GPU's, or a smaller --rerank",
    "duplicates": "--kinds exact",
    "explain": "--device cpu where it was a GPU's",
    "serve": "smaller batches (--limits.max-batch-images 8)",
    "report": "--device cpu where it was a GPU's",
    "data": "fewer records (--data.max-records 1000)",
}
"""How to save memory, for commands that have an option for it."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 2 a wrong option; 3 the data; 4 the model; 5 training; 75 stopped on request,
    resumable.
    """
    _set_up_streams()
    warnings.formatwarning = _format_warning
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
        hint = closest(words[0], COMMANDS) or "likewise --help lists them."
        print(f"likewise: no command is called {words[0]!r}; {hint}", file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    try:
        import_module(f"likewise.cli.{words[0]}_command").run(words[1:])
    except BrokenPipeError:  # the reader of our output (head, less) is gone
        sys.stderr.close()
        sys.exit(141)
    except (LikewiseError, KeyboardInterrupt, MemoryError, RuntimeError, OSError) as error:
        outcome = _outcome(words[0], error)
        if debug or outcome is None:
            raise
        message, code = outcome
        # Only this error has lines of its own, in which data is escaped already.
        parts = message.split("\n") if isinstance(error, TooManyBadRecords) else [message]
        print(f"likewise {words[0]}: " + "\n".join(map(printed_line, parts)), file=sys.stderr)
        sys.exit(code)


def _outcome(command: str, error: BaseException) -> tuple[str, int] | None:
    """The message and exit code of an error that the user can do something about, else None."""
    if isinstance(error, LikewiseError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if _out_of_memory(error):
        hint = f"; try {_LESS_MEMORY[command]}" if command in _LESS_MEMORY else ""
        return f"out of memory ({first_line(error)}){hint}.", TrainingError.exit_code
    return (str(error), 1) if isinstance(error, OSError) else None  # such as a full disk


_format_plainly = warnings.formatwarning


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Warnings may quote file names and data too."""
    return _format_plainly(printed_line(message), category, filename, lineno, line)


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch ran out of memory; torch has no class for it on the CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _set_up_streams() -> None:
    """Make output robust.

    A terminal that is not UTF-8 shows question marks for characters that it lacks, instead of an error.
    Errors are written in whole lines even with ``PYTHONUNBUFFERED``, which containers often set: otherwise
    `print` writes a line and its end apart, and two ranks that print at once mix theirs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(line_buffering=True, write_through=False)


if __name__ == "__main__":
    main()
