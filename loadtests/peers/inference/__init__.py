"""Other people's retrieval services on our ads, with our weights and our load: `python -m loadtests.peers.inference --json`."""
