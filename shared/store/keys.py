"""How every Redis key is spelled: the names below, each followed by an id where it ends in a colon.

Ids hold no colon and no slash, so joining them is unambiguous. What a key or a field that came later says
of older entries, where it is missing: index version 0, policy empty, no calibration, nothing followed yet.
So layout 1 has grown and is still layout 1.
"""

from __future__ import annotations

LAYOUT_VERSION = "1"
LAYOUT = "skim:layout"
"""String: the version of the layout below."""

IMPORTING = f"{LAYOUT_VERSION} (an import is under way)"
"""What `LAYOUT` says meanwhile, so that nobody works on half a store."""

_PREFIX = f"skim:{LAYOUT_VERSION}:"
EVERYTHING = f"{_PREFIX}*"
"""Pattern of all keys but `LAYOUT`."""

DOCUMENTS = f"{_PREFIX}documents"
"""Sorted set of document ids, all scores 0: read page by page in their order."""
DOCUMENT = f"{_PREFIX}document:"
"""+ document id. Hash: `body` (JSON), `content_hash`, `revision` (absent before the first labels)."""
SYNTHETIC = f"{_PREFIX}synthetic:"
"""+ document id. Hash: content hash:generator -> JSON {queries, evidence}; versions before
evidence wrote the bare list of queries, which is read as well."""
LABELS = f"{_PREFIX}labels:"
"""+ document id:revision. Sorted set: train query id -> similarity."""
PROVENANCE = f"{_PREFIX}provenance:"
"""+ document id:revision. Hash: train query id -> JSON; for the whole revision `@` (JSON), `@at`, `@of`
(its content hash), `@version` (of the train queries) and `@policy`."""
PROBABILITY = f"{_PREFIX}probability:"
"""+ document id:revision. Hash: train query id -> that the label is right; absent without a calibration."""
REVIEWED = f"{_PREFIX}reviewed"
"""Sorted set, all scores 0, of documents that have a verdict of a person; absent before the first."""
REVIEWS = f"{_PREFIX}reviews:"
"""+ document id. Hash: train query id -> microseconds:verdict. Of no revision: labels come and go."""
QUERY = f"{_PREFIX}query:"
"""+ train query id. Set of the documents that have it as a label."""
JOBS = f"{_PREFIX}jobs"
"""Sorted set of job ids by the time of acceptance, in microseconds."""
JOB = f"{_PREFIX}job:"
"""+ job id. Hash: the record, times in microseconds; `after` while a remap still accepts documents; `as_is`:
places (from 1) of the documents of a request that were unchanged, with commas."""
AMONG = f"{_PREFIX}among:"
"""+ job id. String: JSON list of the train queries a remap is about; absent if about all, and once over."""
OPENING = f"{_PREFIX}opening"
"""Sorted set of the remaps that still accept documents, by the time they began."""
ERRORS = f"{_PREFIX}errors:"
"""+ job id. Hash: document id -> why it failed."""
WAITING = f"{_PREFIX}waiting"
"""Sorted set: job id/document id -> end of its lease in microseconds, 0 without one."""
TRIES = f"{_PREFIX}tries"
"""Hash: job id/document id -> JSON {alone, owner, reason} of what was begun and is not finished: tries of the
document alone, whose hands it is in (empty: nobody's), why its last try failed."""
DEAD = f"{_PREFIX}dead"
"""Sorted set, all scores 0, of the documents in the dead letters."""
DEATHS = f"{_PREFIX}deaths"
"""Hash: document id -> JSON {job_id, reason, tries, failed_at} of its dead letter."""
TOTALS = f"{_PREFIX}totals"
"""Hash: running sums (labels, accepted, done, failed, cancelled, and `jobs:` + state), `staged` documents of
sealed uploads, and those `leaving`: they still have an entry in WAITING, their job was cancelled."""
IDEMPOTENCY = f"{_PREFIX}idempotency:"
"""+ hash of the caller's key. Hash: `job`, and the body's `digest` once all of it is accepted. Expires then."""
UPLOAD = f"{_PREFIX}upload:"
"""+ job id. Hash of an upload that is not sealed: `key` of its idempotency record or nothing, whose hands it is
in (`owner`, `held_until` in microseconds), how far it is (`bytes`, `lines`, `digest`), what it came to (`staged`,
`unchanged`, `refused`)."""
UPLOADS = f"{_PREFIX}uploads"
"""Sorted set: job id of an upload that is not sealed -> when it may be dropped, in microseconds."""
UPLOADED = f"{_PREFIX}uploaded:"
"""+ job id. Set of the document ids that came so far, while the upload is not sealed."""
STAGED = f"{_PREFIX}staged:"
"""+ job id. List: id, content hash, body, generator and synthetic queries of each uploaded document, until it
is taken in."""
GONE = f"{_PREFIX}gone:"
"""+ job id. Set of documents removed since the upload was sealed: they are not taken in. There while any are staged."""
SEALED = f"{_PREFIX}sealed"
"""Sorted set of the sealed uploads with documents still staged, by the time they were sealed."""
REFUSALS = f"{_PREFIX}refusals:"
"""+ job id. List: JSON of the lines of an upload that were refused, a bounded number of them."""
GENERATOR = f"{_PREFIX}generator"
"""String: name of the generator that was seen to serve last."""
FOLLOWED = f"{_PREFIX}followed"
"""Hash: `version` and `policy` of the mapping that labels have followed, `job` that saw to it, and
`is_back` if that version is older than the one before. Absent before the first."""
BEHIND = f"{_PREFIX}behind"
"""Sorted set, all scores 0, of documents whose labels may not be of the state followed."""
REMOVED = f"{_PREFIX}removed"
"""Sorted set: removed train query id -> version that is without it."""
IMPORT = f"{_PREFIX}import"
"""Hash, while an import is under way: `id` of the export and how many `lines` of it are written."""
WAITS = f"{_PREFIX}import:waits"
"""Set, likewise: documents that wait."""
ORPHANS = f"{_PREFIX}import:orphans"
"""Set, likewise: documents without current labels that were not given up."""
