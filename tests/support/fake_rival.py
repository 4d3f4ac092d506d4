"""A rival that scans everything. The query "7" asks for what is nearest to ad 7; the setting makes it behave badly."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from loadtests.peers.inference.protocol import (
    Catalogue,
    Options,
    Vectors,
    Width,
    main,
    smallest_width,
)


def best(catalogue: Catalogue, query: Vectors, limit: int) -> list[int]:
    return np.argsort(-(catalogue.vectors @ query), kind="stable")[:limit].tolist()


def build(catalogue: Catalogue, folder: Path) -> Width:
    (folder / "built").write_text("yes")
    return smallest_width(catalogue, lambda _, query: best(catalogue, query, 10))


def serve(catalogue: Catalogue, folder: Path, options: Options) -> None:
    if options.setting == "stops":
        sys.exit("unlucky")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            row = int(asked["query"][0]) if asked["query"][0].isdigit() else 0
            found = best(catalogue, catalogue.vectors[row], int(asked.get("limit", ["10"])[0]))
            if options.setting == "forgets":
                found = found[:-1]
            answer = [{"id": catalogue.ids[place], "score": 1.0} for place in found]
            body = json.dumps(answer).encode()
            self.send_response(500 if options.setting == "fails" and row else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main(build, serve, __doc__)
