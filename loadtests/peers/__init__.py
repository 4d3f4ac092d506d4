"""Other people's programs on our jobs, each a process of its own: decoders here, retrievers in `retrieval`."""
