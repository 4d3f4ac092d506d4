"""`skim distill`: a teacher's answers, from which the student learns."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import print_json, progress_bar_with_note
from services.cli.quality import evaluate
from services.cli.student import export, tune
from services.training.distillation.budget import Budget, Cost, Limits
from services.training.distillation.journal import Journal
from services.training.distillation.settings import TeacherSettings
from services.training.distillation.teacher import TeacherClient
from services.training.distillation.teacher_data import (
    TeacherAnswer,
    read_for_teacher,
    read_taught,
)
from services.training.distillation.teacher_prompts import Flavour, TeacherPrompts
from services.training.distillation.teacher_run import Outcome, Standing, TeacherRun
from shared.dataset import write_lines
from shared.errors import InvalidInput, SkimError, Unavailable

app = typer.Typer(help="Teach the small language model what a large one writes.")


@app.command()
def ask(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    output: Annotated[
        Path, typer.Option(help="File of answers to write or go on with: {id, queries} a line.")
    ],
    flavour: Annotated[
        Flavour, typer.Option(help="What is asked for; query-side: labels for train queries.")
    ] = Flavour.SEARCH,
    examples: Annotated[
        Path | None, typer.Option(help="Few-shot examples: {document, queries} a line.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many documents.")
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(min=0, help="Most requests, earlier runs included.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, help="Most tokens read and written, likewise.")
    ] = None,
    max_money: Annotated[
        float | None, typer.Option(min=0, help="Most money, likewise; needs the prices.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Requests under way at once.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Ask again about documents that got no queries.")
    ] = False,
) -> None:
    """Ask a large model (SKIM_TEACHER_BASE_URL, _API_KEY, _MODEL) for the queries of every document.

    Run it again to go on where it stopped: no document is asked about twice. Beside NAME.jsonl,
    NAME.calls.jsonl keeps what every call cost; the limits count them all.
    """
    settings = TeacherSettings()
    if concurrency is not None:
        settings = settings.model_copy(update={"concurrency": concurrency})
    if output.suffix != ".jsonl":
        raise InvalidInput(f"{output}: expected a name that ends in .jsonl")
    if max_money is not None and not (settings.price_in or settings.price_out):
        raise InvalidInput("--max-money needs SKIM_TEACHER_PRICE_IN or _PRICE_OUT")
    prompts = TeacherPrompts(
        read_for_teacher(folder),
        flavour,
        read_taught(examples) if examples else (),
        max_characters=settings.max_document_characters,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, money=max_money)
    try:
        outcome = asyncio.run(_ask_all(prompts, settings, output, limits, limit, again=again))
    except Unavailable as error:  # of the teacher, not of the suite that `skim up` starts
        raise SkimError(f"{error}; answers so far are kept, run it again to go on") from error
    print_json({"output": str(output), **_summary(outcome)})


async def _ask_all(
    prompts: TeacherPrompts,
    settings: TeacherSettings,
    output: Path,
    limits: Limits,
    limit: int | None,
    *,
    again: bool,
) -> Outcome:
    with ExitStack() as stack:
        calls = stack.enter_context(Journal(output.with_suffix(".calls.jsonl"), Cost, key=None))
        if again:
            _forget_refused(output, calls)
        answers = stack.enter_context(Journal(output, TeacherAnswer))
        advance = stack.enter_context(progress_bar_with_note(f"Asking {settings.model}"))
        costs = [row.cost for row in answers.rows() if row.cost is not None]
        async with TeacherClient(settings) as client:
            run = TeacherRun(
                client,
                settings,
                answers,
                Budget(limits, calls, costs),
                tell=lambda standing: advance(standing.done, standing.total, cost_line(standing)),
            )
            return await run.ask(prompts, limit)


def _forget_refused(output: Path, calls: Journal[Cost]) -> None:
    """Take refused documents out of the file of answers; what they cost stays with the calls."""
    with Journal(output, TeacherAnswer) as answers:
        rows = list(answers.rows())
    for row in rows:
        if row.refused and row.cost is not None:
            calls.append(row.cost)
    write_lines(output, (row.model_dump_json(exclude_none=True) for row in rows if row.queries))


def cost_line(standing: Standing) -> str:
    """Return calls, tokens and money so far, and what is expected in all."""
    line = f"{standing.calls:,} calls, {standing.tokens:,} tokens, {standing.money:,.4f} spent"
    if standing.tokens_in_all is None:
        return line
    expected = f"{standing.tokens_in_all:,} tokens, {standing.money_in_all:,.4f}"
    return f"{line}; in all about {expected}"


def _summary(outcome: Outcome) -> dict[str, object]:
    standing = asdict(outcome.standing)
    left = standing["total"] - standing["done"]
    return {
        "asked": outcome.asked,
        **standing,
        "left": left,
        "stopped_by": outcome.stopped_by,
        "refused": outcome.refused,
        "unanswered": outcome.unanswered,
    }


for command in (tune, export, evaluate):  # after `ask`, in the order they are used
    app.command()(command)
