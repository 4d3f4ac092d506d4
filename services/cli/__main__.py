"""The `skim` command: every part's commands under one roof."""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError

from services.cli import (
    ads,
    augment,
    data,
    dead_letters,
    demo,
    distill,
    doctor,
    evaluate,
    events,
    gaps,
    keys,
    logs,
    mapping,
    matrix,
    models,
    report,
    search,
    show_settings,
    store,
    suite,
    training,
)
from services.cli.console import err
from services.cli.contents import AWAY, FAILED, advised, command_of
from services.cli.generate import generate
from shared.errors import Damaged, KeyRefused, RateLimited, SkimError, Unavailable
from shared.telemetry import configure_logging

app = typer.Typer(
    name="skim",
    help="Find the relevance your click log never showed, train on it, serve top-K ads.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command("doctor")(doctor.doctor_command)
app.command("logs")(logs.logs)
for command in (suite.up, suite.down, suite.status):
    app.command()(command)
app.add_typer(keys.app, name="keys")
app.add_typer(show_settings.app, name="settings")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(distill.app, name="distill")
app.add_typer(mapping.app, name="mapping")
app.command()(generate)
app.command()(augment.augment)
augment.labels_app.command("matrix")(matrix.matrix)
app.add_typer(augment.labels_app, name="labels")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(store.app, name="store")
app.add_typer(events.app, name="events")
app.command("train")(training.train_command)
app.command()(training.publish)
app.add_typer(ads.bundles_app, name="bundles")
app.add_typer(ads.app, name="ads")
app.command()(evaluate.simulate)
app.command("evaluate")(evaluate.evaluate_command)
app.command("gaps")(gaps.gaps_command)
app.command("report")(report.report_command)
app.command()(search.search)


def main() -> None:
    """Run the command; an error of ours is one line on standard error and an exit code of `contents.py`."""
    configure_logging("ERROR")  # a retry is no news at a terminal; its end is
    whole = command_of(app)
    try:
        whole(prog_name="skim")
    except KeyRefused as error:
        _fail(f"{error}; SKIM_API_KEY is the key that `skim` sends")
    except RateLimited as error:
        _fail(str(error))
    except Unavailable as error:
        _fail(f"{error}; `skim status` says what is up, `skim up` starts the suite", AWAY)
    except Damaged as error:
        _fail(f"{error}; `skim doctor` checks every file")
    except SkimError as error:
        _fail(advised(str(error), whole, sys.argv[1:]))
    except ValidationError as error:  # a malformed setting: nothing else is validated bare
        first = error.errors()[0]
        _fail(
            f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}; `skim doctor` names its variable"
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; `skim doctor` looks at disk and rights")


def _fail(message: str, code: int = FAILED) -> None:
    err.print(f"skim: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
