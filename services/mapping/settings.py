"""Settings of the mapping service (`SKIM_MAPPING_*`); tau and neighbours are the paper's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment a process that searches an index is started with: a search reads the graph here and there, and looks up
fewer pages (a sixth of its time at 100,000 train queries). glibc reads it as the process starts, others pass over it."""

MIN_EXPECTED = 0.08
"""Chosen on documents that no report reads (services/README.md)."""


class MappingSettings(ServerSettings):
    """How synthetic queries are mapped, and how the index is built."""

    model_config = SettingsConfigDict(
        env_prefix="SKIM_MAPPING_", env_parse_none_str="none", extra="ignore", frozen=True
    )

    port: int = Field(default=8102, ge=1, le=65535)
    rule: Literal["calibrated", "preset"] = "calibrated"
    """What decides on labels: the calibration beside the index (`skim mapping calibrate`) where there is one, or always
    the paper's preset, which the settings up to `min_trusted_queries` are of."""
    min_similarity: float = Field(default=0.6, ge=-1, le=1)
    """tau, as a cosine: a train query less similar than this is no label."""
    neighbours: int = Field(default=10, ge=1, le=100)
    """Train queries a synthetic query may reach."""
    min_support: float = Field(default=0.5, ge=0, le=1)
    """A synthetic query leads to labels if this share of its document's samples has it; 0 asks for none."""
    min_log_probability: float | None = Field(default=-2.25, le=0)
    """And if the SLM gave its line at least this (natural) log-probability; `none` asks for none."""
    min_expected: float = Field(default=MIN_EXPECTED, ge=0)
    """Where the SLM was searched for train queries, one leads to labels if so many lines of a sample are it, on average; another
    synthetic query, say of a train query that came later, if all samples have it. 0 asks for nothing."""
    min_trusted_queries: int = Field(default=1, ge=0, le=64)
    """Synthetic queries of a document that lead to labels even if fewer reach the two bounds: its first."""
    m: int = Field(default=16, ge=2, le=128)
    """Links of a train query in the graph; about 8 bytes each. Takes effect when the index is built."""
    ef_construction: int = Field(default=200, ge=10)
    """Neighbours kept while the index is built; more is a better graph and a longer build."""
    ef: int | None = Field(default=None, ge=10)
    """Neighbours kept while searching, at least; more is a better and slower search. If unset, as many as the build measured that it
    takes."""
    recent_queries: int = Field(default=10_000, ge=1)
    """Train queries put since the graph was built that start its building anew; they are compared one by one."""
    deleted_share: float = Field(default=0.2, gt=0, le=1)
    """Share of deleted ones that does the same."""
    remembered_changes: int = Field(default=100_000, ge=1)
    """Ids of train queries whose change is told to those who follow; who is further behind maps everything anew."""
    canary_seconds: float = Field(default=600.0, ge=0)
    """Between two measurements of the index's recall against exact search; 0 measures never."""
    max_lines: int = Field(default=10_000, ge=1)
    """Train queries of one PUT or DELETE."""
    remembered_texts: int = Field(default=50_000, ge=0)
    """Synthetic queries whose vectors are kept, 1.5 KB each: mapping anew costs no encoding of these."""
    threads: int | None = Field(default=None, ge=1)
    """Requests mapped at once; one a core if unset."""
    max_waiting: int = Field(default=64, ge=0)
    """Requests that may wait for a thread; the next one is refused with 503."""
