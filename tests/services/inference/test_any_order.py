"""Whatever order things happen in, only what may be returned is: an oracle of plain dictionaries knows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from services.inference.answer_cache import AnswerCache
from services.inference.exploration import Draw, Explorer
from services.inference.filters import conditions_of
from services.inference.live_ads import LiveAds, Upkeep
from services.inference.retriever import top
from services.inference.view import View
from shared.contracts.inference import Ad, AdPatch
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import ad, generation

IDS = st.sampled_from(list("abcdef"))
WORDS = ("red", "wine", "boat", "knife")
TITLES = st.sampled_from(WORDS)
PRICES = st.integers(0, 3)
DOCUMENTS = st.builds(
    lambda ad_id, title, price, asked: ad(ad_id, title, asked, price=price),
    IDS,
    TITLES,
    PRICES,
    st.none() | st.just([]) | st.lists(TITLES, min_size=1, max_size=2),
)
BATCHES = st.lists(DOCUMENTS, min_size=1, max_size=4, unique_by=lambda each: each.id)
ENCODERS = {name: BagOfWordsEncoder(name, dimensions=16) for name in ("words-1", "words-2")}


class Ads(RuleBasedStateMachine):
    """Changes, searches, switches, restarts, upkeep and crashes."""

    views = Bundle("views")

    @initialize(published=BATCHES)
    def begin(self, published: list[Ad]) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.cache = AnswerCache(100_000)
        self.changed: dict[str, Ad | None] = {}
        self.ads = LiveAds(self.folder, Upkeep(recent=2, dead=3, journal_bytes=500))
        self.publish(published, "words-1", 0)

    def teardown(self) -> None:
        if hasattr(self, "ads"):
            self.ads.close()
            self.scratch.cleanup()

    @property
    def oracle(self) -> dict[str, Ad]:
        """The ads there are: the bundle's, but for what was changed."""
        merged = {**{each.id: each for each in self.published}, **self.changed}
        return {ad_id: each for ad_id, each in merged.items() if each is not None}

    def publish(self, published: list[Ad], encoder: str, number: int) -> None:
        self.published = [
            each.model_copy(update={"synthetic_queries": None}) for each in published
        ]
        self.generation = generation(
            f"v{number}",
            published,
            encoder=ENCODERS[encoder],
            kind=("flat", "hnsw_fp16", "ivf_fp16")[number % 3],
        )
        self.ads.serve(self.generation)

    @rule(documents=BATCHES, unless_deleted=st.booleans())
    def put(self, documents: list[Ad], unless_deleted: bool) -> None:
        deleted = {
            ad_id: entry.content_hash
            for ad_id, entry in self.ads._entries.items()
            if entry.row is None
        }
        self.ads.put(documents, unless_deleted=unless_deleted)
        for each in documents:
            if not (unless_deleted and deleted.get(each.id) == each.content_hash):
                self.changed[each.id] = each.knowing(self.oracle.get(each.id))

    @rule(ad_id=IDS, price=PRICES, title=st.none() | TITLES)
    def patch(self, ad_id: str, price: int, title: str | None) -> None:
        self.ads.patch([AdPatch(id=ad_id, title=title, metadata={"price": price})])
        known = self.oracle.get(ad_id)
        if known is not None and (
            known.metadata["price"] != price or title not in (None, known.title)
        ):
            self.changed[ad_id] = ad(ad_id, title or known.title, price=price).knowing(known)

    @rule(ids=st.lists(IDS, min_size=1, max_size=3))
    def delete(self, ids: list[str]) -> None:
        self.ads.delete(ids)
        self.changed |= dict.fromkeys(ids)

    @rule(published=BATCHES, encoder=st.sampled_from(sorted(ENCODERS)), number=st.integers(0, 9))
    def switch(self, published: list[Ad], encoder: str, number: int) -> None:
        self.publish(published, encoder, number)

    @rule(crashes=st.booleans())
    def restart(self, crashes: bool) -> None:
        if crashes:  # a record that was not acknowledged lies at the end
            with (self.folder / "journal.bin").open("ab") as file:
                file.write(b"\x05\x00\x00")
        self.ads.close()
        self.ads = LiveAds(self.folder, Upkeep(recent=2, dead=3, journal_bytes=500))
        self.ads.serve(self.generation)

    @rule()
    def keep_up(self) -> None:
        self.ads.keep_up()

    @rule()
    def compact(self) -> None:
        self.ads.compact()

    @rule(target=views)
    def remember(self) -> tuple[View, dict[str, Ad]]:
        assert self.ads.view is not None
        return self.ads.view, self.oracle

    @rule(remembered=views, word=TITLES)
    def an_older_view_answers_as_it_did(
        self, remembered: tuple[View, dict[str, Ad]], word: str
    ) -> None:
        view, oracle = remembered
        assert {each["id"] for each in top(view, word, 50).ads} == set(oracle)

    @rule(word=TITLES, k=st.integers(1, 7), price=st.none() | PRICES)
    def search(self, word: str, k: int, price: int | None) -> None:
        view = self.ads.view
        assert view is not None
        conditions = None if price is None else conditions_of({"price": price})
        ads = top(view, word, k, conditions, ("price",)).ads
        may = {
            each.id: each
            for each in self.oracle.values()
            if price is None or each.metadata["price"] == price
        }

        assert len(ads) == len({each["id"] for each in ads}) == min(k, len(may))
        assert all(each["title"] == may[each["id"]].title for each in ads)
        assert all(each["fields"] == may[each["id"]].metadata for each in ads)
        named = sum(each.title == word for each in may.values())
        assert sum(each["title"] == word for each in ads) == min(k, named)

    @rule(
        word=TITLES,
        k=st.integers(1, 7),
        price=st.none() | PRICES,
        pool=st.sampled_from([0, 3]),
        seed=st.integers(0, 1_000),
    )
    def explore(self, word: str, k: int, price: int | None, pool: int, seed: int) -> None:
        view = self.ads.view
        assert view is not None
        conditions = None if price is None else conditions_of({"price": price})
        explorer = Explorer(0.5, pool, seed)
        places = explorer.places(k)
        draw = Draw(explorer, places, lambda ad, position, p: {"slot": (ad, position, p)})
        ads = top(view, word, k, conditions, ("price",), draw).ads
        may = {
            each.id: each
            for each in self.oracle.values()
            if price is None or each.metadata["price"] == price
        }

        assert len(ads) == len({each["id"] for each in ads}) == min(k, len(may))
        for place, each in enumerate(ads):
            known = may[each["id"]]
            assert (each["title"], each["fields"]) == (known.title, known.metadata)
            if place in places:
                among = min(len(may), max(k, pool)) if pool else len(may)
                assert each["slot"] == (known.id, place + 1, 1 / among)
        ranked = [each["score"] for each in ads if "slot" not in each]
        assert len(ads) - len(ranked) == sum(place < len(ads) for place in places)
        assert ranked == sorted(ranked, reverse=True)

    @rule(word=TITLES)
    def ask_by_way_of_the_cache(self, word: str) -> None:
        view = self.ads.view
        assert view is not None
        now = b",".join(sorted(each["id"].encode() for each in top(view, word, 50).ads))
        kept = self.cache.get(view, word)
        self.cache.put(view, word, now)

        assert kept in (None, now)

    @invariant()
    def synthetic_queries_are_those_of_the_text(self) -> None:
        if hasattr(self, "ads"):
            assert {ad_id: self.ads._ad(ad_id) for ad_id in self.oracle} == self.oracle

    @invariant()
    def as_many_ads_as_there_are(self) -> None:
        if hasattr(self, "ads"):
            assert self.ads.view is not None
            assert self.ads.view.live == len(self.oracle)
            for ad_id in "abcdef":
                assert (self.ads.document(ad_id) is not None) == (ad_id in self.oracle)


TestAds = Ads.TestCase
TestAds.settings = settings(max_examples=60, stateful_step_count=30)
