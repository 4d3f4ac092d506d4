"""Where the operators' pages are."""

from __future__ import annotations

from tests.browser.conftest import Operated
from tests.support.operated_suite import BUNDLES

PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/{running}",
    "failed-job": "/jobs/{failed}",
    "dead-letters": "/dead-letters",
    "documents": "/documents",
    "document": "/documents/ad-3",
    "hostile-document": "/documents/hostile",
    "search": "/search?query=oboe&k=13&explain=ad-1",
    "reviews": "/reviews?seed=1",
    "reports": "/reports",
    "evaluation": "/reports/reports/evaluation.json",
    "gaps": "/reports/reports/gaps.json",
    "bundles": f"/bundles?a={BUNDLES[0]}&b={BUNDLES[1]}",
    "problem": "/documents/unknown",
}


def address_of(operated: Operated, name: str) -> str:
    suite = operated.suite
    return operated.url + PAGES[name].format(running=suite.running.id, failed=suite.failed.id)
