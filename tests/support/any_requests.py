"""Asks an application everything its OpenAPI document allows, and what it does not, with Schemathesis' engine."""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    OperationConfig,
    OperationsConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.engine import events, from_schema
from schemathesis.filters import FilterSet

NDJSON = "application/x-ndjson"
_LONGEST_MS = 60_000
_DEADLINES = range(1, _LONGEST_MS + 1)
_DEADLINES_AS_TEXT = frozenset(map(str, _DEADLINES))
"""As they stand in an address."""


@dataclass
class Findings:
    """What came out of a run."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """What a check found, with the request that shows it and its answer."""


def ask_until(app: FastAPI, *, key: str, cases: int, examples: int) -> Findings:
    """Run again and again with other seeds until so many requests were made."""
    findings = Findings()
    for seed in itertools.count():
        found = ask_anything(app, key=key, examples=examples, seed=seed)
        findings.cases += found.cases
        findings.statuses += found.statuses
        findings.failures += found.failures
        if findings.cases >= cases:
            return findings
    raise AssertionError("unreachable: there is always another seed")


def ask_anything(app: FastAPI, *, key: str, examples: int, seed: int = 0) -> Findings:
    """Run every phase with all checks: examples, limits of every type, random requests, chains of requests.

    Args:
        app: the application, in process.
        key: sent with every request but those that must be refused.
        examples: random requests an operation, at most.
        seed: of all draws.
    """
    authorization = {"Authorization": f"Bearer {key}"}
    generation = GenerationConfig(
        max_examples=examples, database="none", with_security_parameters=False
    )
    project = ProjectConfig(
        headers=authorization,
        generation=generation,
        continue_on_failure=True,
        operations=OperationsConfig(operations=[_with_a_verdict_each("/v1/events")]),
    )
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json",
        app,
        config=SchemathesisConfig(seed=seed, projects=ProjectsConfig(default=project)),
        headers=authorization,
    )
    findings = Findings()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                _note(event, findings)
            case events.NonFatalError():
                findings.failures.append(f"{event.label}: {event.value!r}")
            case events.FatalError():
                raise event.exception
            case events.EngineFinished():
                findings.failures += [str(failure) for failure in event.failures]
    return findings


def _with_a_verdict_each(path: str) -> OperationConfig:
    """Return that a body is answered 200 though items of it are rejected."""
    items = FilterSet()
    items.include(path=path)
    checks = ChecksConfig(negative_data_rejection=NegativeDataRejectionConfig(enabled=False))
    return OperationConfig(filter_set=items, checks=checks)


@schemathesis.serializer(NDJSON)
def _as_lines(_: object, value: Any) -> bytes:  # noqa: ANN401  (anything JSON can hold)
    """Send a list as one JSON value a line, anything else as it is."""
    rows = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@schemathesis.hook("before_call")
def _keep_unwritten_rules(_: object, case: schemathesis.Case, kwargs: object) -> None:
    """Make a request keep the rules that JSON Schema has no words for; what breaks the others still does.

    A cursor is one that was given, an idempotency key is used once, what has an id has one of its own,
    queries are of documents that are there, evidence is of every query or of none, an answer may take its time.
    """
    if case.query:
        case.query.pop("cursor", None)
        if str(case.query.get("timeout_ms")) in _DEADLINES_AS_TEXT:
            case.query["timeout_ms"] = _LONGEST_MS
    if isinstance(case.body, dict) and _is_deadline(case.body.get("timeout_ms")):
        case.body["timeout_ms"] = _LONGEST_MS
    if case.headers and "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = uuid.uuid4().hex
    if isinstance(case.body, dict) and "documents" in case.body:
        _name_known_documents(case.body, _told_apart(case.body["documents"]))
    else:
        rows = case.body if isinstance(case.body, list) else [case.body]
        _told_apart(rows)
        for row in _dictionaries(rows):
            _told_apart(row.get("reviews"), "query_id")
        for row in _dictionaries(rows):
            row.pop("synthetic_queries", None)  # of a line: its generator is named beside it
    for each in _dictionaries(case.body):
        queries, evidence = each.get("queries"), each.get("evidence")
        if isinstance(queries, list) and isinstance(evidence, list) and evidence:
            each["evidence"] = (evidence * len(queries))[: len(queries)]


def _is_deadline(value: Any) -> bool:  # noqa: ANN401  (anything JSON can hold)
    """Return whether it is a whole number that is allowed, also as 2.0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value in _DEADLINES


def _name_known_documents(body: dict[str, Any], ids: list[str]) -> None:
    for name, within in (("known_queries", body), ("queries", body.get("synthetic_queries"))):
        if isinstance(within, dict) and isinstance(within.get(name), dict):
            within[name] = dict(zip(ids, within[name].values(), strict=False))


def _told_apart(rows: Any, name: str = "id") -> list[str]:  # noqa: ANN401
    """Give rows of one id another; return all ids."""
    seen: list[str] = []
    for number, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict) and isinstance(row.get(name), str):
            if row[name] in seen:
                row[name] = f"another-{number}"
            seen.append(row[name])
    return seen


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _dictionaries(each)


def _note(event: events.ScenarioFinished, findings: Findings) -> None:
    recorder = event.recorder
    answers: dict[str, str] = {}
    for case_id, interaction in recorder.interactions.items():
        findings.cases += 1
        if interaction.response is not None:
            findings.statuses[interaction.response.status_code] += 1
            content = interaction.response.content[:500].decode(errors="replace")
            answers[case_id] = f"{interaction.response.status_code} {content}"
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if (failed := check.failure_info) is not None:
                findings.failures.append(
                    f"{recorder.label} {check.name}: {failed.failure.message}\n"
                    f"{failed.code_sample[:2_000]}\n{answers.get(case_id)}"
                )
